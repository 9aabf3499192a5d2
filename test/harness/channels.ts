/**
 * The channels of a vhost, and browsers and users for them.
 */
import { Effect, Result } from "effect"
import type { JsonObject } from "../../src/protocol/Json.ts"
import * as Permission from "../../src/server/domain/Permission.ts"
import type * as Channels from "../../src/server/engine/Channels.ts"
import * as FakeBrowser from "./FakeBrowser.ts"
import * as Vhost from "./vhost.ts"

export const permit = (uid: string, pattern = ".*") => Result.getOrThrow(Permission.make(uid, pattern))

export const joe = permit("joe")
export const ann = permit("ann")

/** Channels with the limits of a broker, or others. */
export const makeWith = (options?: Vhost.Options) => Vhost.make(options).channels

/** Channels with `names` open. */
export const make = Effect.fnUntraced(function*(...names: ReadonlyArray<string>) {
  const channels = makeWith()
  yield* Effect.forEach(names, channels.open)
  return channels
})

/** Subscribes, and drops the messages about it. */
export const join = (
  channels: Channels.Channels,
  name: string,
  browser: FakeBrowser.FakeBrowser,
  permission?: Permission.Permission,
  options?: { readonly hidden?: boolean; readonly data?: JsonObject }
) =>
  Effect.map(
    channels.subscribe(name, browser, { permission, hidden: false, data: {}, ...options }),
    () => void browser.received()
  )

export const browsers = <const Sids extends ReadonlyArray<string>>(...sids: Sids) =>
  sids.map((sid) => FakeBrowser.make(sid)) as { readonly [Index in keyof Sids]: FakeBrowser.FakeBrowser }
