/**
 * What is wrong with an option, in words.
 */

import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"

/** What an option can be, of the message of an issue: of what may be absent that is a union. */
export const expectedBy = (message: string): string =>
  message.replace(/^Expected (.*) \| undefined$/, "$1").replace(/^array$/, "a list")

/** Formats an issue, with what the options say of what they can be. */
export const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) =>
    issue._tag === "InvalidType"
      ? SchemaAST.resolve(issue.ast)?.["expected"] as string | undefined ?? "an object"
      : issue._tag === "UnexpectedKey"
      ? "no option of a broker"
      : issue._tag === "MissingKey"
      ? "required"
      : SchemaIssue.defaultLeafHook(issue)
})

/** A value in a message. */
export const textOf = (value: unknown): string =>
  (typeof value === "string" || Object(value) === value ? JSON.stringify(value) : String(value)).slice(0, 100)
