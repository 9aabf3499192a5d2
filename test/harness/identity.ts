/**
 * Identities of backends, as text.
 */
import { randomUUID } from "node:crypto"
import { token } from "./TestBroker.ts"

/** A fresh identity for the vhost `/test`, or with other parts. */
export const identity = (
  kind: "req" | "dlr",
  parts: { readonly vhost?: string; readonly token?: string; readonly id?: string } = {}
): string => `${kind}:${parts.vhost ?? "/test"}:${parts.token ?? token}:${parts.id ?? randomUUID()}`
