/**
 * What is wrong with an option, in words.
 */

import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import { keys } from "./channelRule.ts"

const secrets: ReadonlyArray<string | undefined> = ["token", "cookie", "secret"]

/** The first option that is wrong: its path, what was given, and what it can be. */
export const describe = (issue: SchemaIssue.Issue, options: object) => {
  const { issues: [first] } = format(issue)
  const path = first?.path?.map(String) ?? []
  const value = path.reduce<unknown>((value, key) => (value as Readonly<Record<string, unknown>>)[key], options)
  return {
    option: path.join("."),
    // The value of a secret is in no error.
    value: secrets.includes(path.at(-1)) ? "what it is" : textOf(value),
    allowed: first?.message === unknown && path.at(-3) === "channelRules"
      ? `no setting of a rule, which has ${keys.join(", ")}`
      : expectedBy(first?.message ?? "")
  }
}

const unknown = "no option of a broker"

// Of what may be absent the message is that of a union.
const expectedBy = (message: string): string =>
  message.replace(/^Expected (.*) \| undefined$/, "$1").replace(/^array$/, "a list")

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) =>
    issue._tag === "InvalidType"
      ? SchemaAST.resolve(issue.ast)?.["expected"] as string | undefined ?? "an object"
      : issue._tag === "UnexpectedKey"
      ? unknown
      : issue._tag === "MissingKey"
      ? "required"
      : SchemaIssue.defaultLeafHook(issue)
})

const textOf = (value: unknown): string =>
  (typeof value === "string" || Object(value) === value ? JSON.stringify(value) : String(value)).slice(0, 100)
