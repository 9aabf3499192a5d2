/**
 * What the commands have in common: what they print, how they end, where their broker is, and lines from standard input.
 *
 * Standard output carries results and nothing else; sentences for a person go to standard error, one a
 * line, and never hold a token. Wrong use ends with such a sentence and exit status 1.
 *
 * @since 0.1.0
 */

import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Flag from "effect/cli/Flag"
import type { FlagDoc } from "effect/cli/HelpDoc"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"

/**
 * The failure of a command that has reported itself what went wrong. It ends with exit status 1 and no further line.
 *
 * @since 0.1.0
 */
export class Reported extends Schema.TaggedError<Reported>("kosmonaut/cli/CommandLine/Reported")("Reported", {}) {
  /** Marks it as reported for the runtime. */
  override readonly [Runtime.errorReported] = false
}

/**
 * The failure of a command that was used in a wrong way; `message` is what was wrong, and what to do.
 *
 * @since 0.1.0
 */
export const wrongUse = (message: string): CliError.ValidationError => new CliError.ValidationError({ message })

/**
 * Hides what could be a token: what stands before the `@` of a URL, and words as long as a token, which people also
 * give in the wrong place.
 *
 * @since 0.1.0
 */
export const conceal = (text: string): string =>
  text.replace(/:\/\/[^@\s"]*@/g, "://***@").replace(/(?<!\w)(\w{40}|[\da-f]{128})(?!\w)/g, "***")

/**
 * Ends a text as a sentence, unless it ends as one already.
 *
 * @since 0.1.0
 */
export const sentence = (text: string): string => /[.?!…]$/.test(text) ? text : `${text}.`

/**
 * Reports a sentence to the person.
 *
 * @since 0.1.0
 */
export const report = (sentence: string): Effect.Effect<void> => Console.error(`kosmonaut: ${conceal(sentence)}`)

/**
 * Writes to standard output, and waits while nobody reads.
 *
 * @since 0.1.0
 */
export const write = (text: string): Effect.Effect<void, PlatformError, Stdio.Stdio> =>
  Stdio.Stdio.use((stdio) => Stream.run(Stream.make(text), stdio.stdout({ endOnDone: false })))

/**
 * Marks a command that goes on until it is interrupted, so that SIGINT and SIGTERM end it with exit status 0.
 *
 * @since 0.1.0
 */
export const untilInterrupted = <A, E, R>(command: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.onInterrupt(command, () =>
    Effect.sync(() => {
      process.exitCode = 0
    }))

/**
 * The exit status of the program: that of an interrupted command is 130 unless it was to be ended this way.
 *
 * @since 0.1.0
 */
export const teardown: Runtime.Teardown = (exit, onExit) =>
  Runtime.defaultTeardown(exit, (code) => onExit(code === 130 ? Number(process.exitCode ?? 130) : code))

/**
 * The vhost to work with. Its URL holds the access token, so it is redacted from the start.
 *
 * @since 0.1.0
 */
export const url = Flag.Redacted("url").pipe(
  Flag.withMetavar("<url>"),
  Flag.withFallbackConfig(Config.Redacted("KOSMONAUT_URL")),
  Flag.withDescription(
    "The vhost, wr://<access token>@<host>:<port>/<vhost>, over TCP wr+tcp://…, encrypted wrs://…?serverKey=<public key> or wrs+tcp://…; default $KOSMONAUT_URL, which ps does not show"
  )
)

/**
 * Help as Effect prints it, a little tidier; wrong use as one sentence on standard error.
 *
 * @since 0.1.0
 */
export const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? report(`${explain(event.errors[0]!)} See "${event.commandPath.join(" ")} --help"`)
      : Effect.provideService(CliOutput.defaultPresenter.present(event), CliOutput.Formatter, formatter())
}

const formatter = (): CliOutput.Formatter => {
  const standard = CliOutput.defaultFormatter({ globalFlags: "summary" })
  // Choices are in the description already.
  const narrow = (flag: FlagDoc) => flag.type.includes("|") ? { ...flag, type: "<choice>" } : flag
  return {
    formatCliError: standard.formatCliError,
    formatError: standard.formatError,
    formatErrors: standard.formatErrors,
    formatVersion: standard.formatVersion,
    formatHelpDoc: ({ globalFlags = [], ...doc }) =>
      grouped(
        standard.formatHelpDoc({ ...doc, globalFlags: globalFlags.map(narrow) }).replace(
          /(?<!\n)\n(\S*EXAMPLES)/,
          "\n\n$1"
        )
      )
  }
}

/** Where a group of flags begins, and its heading. */
const headings: Readonly<Record<string, string>> = {
  "--host": "Addresses:",
  "--storage-dir": "What outlasts the broker:",
  "--origin": "What browsers may do:",
  "--queue-capacity": "Events:",
  "--max-message-size": "All connections:"
}

// The escapes are those of colours.
const grouped = (help: string): string =>
  // Only the flags of `serve` have these groups.
  !help.includes("--host ") ? help : Object.entries(headings).reduce(
    (text, [flag, heading]) =>
      text.replace(new RegExp(`\n( *(?:\u001b\\[[\\d;]*m)*${flag}\\b)`), `\n\n  ${heading}\n$1`),
    help
  )

const explain = (error: CliError.NonShowHelpErrors): string => {
  switch (error._tag) {
    case "UnrecognizedOption":
      return `There is no flag ${error.option} here${didYouMean(error.suggestions)}`
    case "UnknownSubcommand":
      return `There is no command ${JSON.stringify(error.subcommand)}${didYouMean(error.suggestions)}`
    case "MissingOption":
      return error.option === "url"
        ? "The broker is missing: give --url or set KOSMONAUT_URL to wr://<access token>@<host>:<port>/<vhost>."
        : `The flag --${error.option} is missing.`
    case "MissingArgument":
      return `The argument ${error.argument} is missing.`
    case "UnexpectedArgument":
      return `There is no argument left for ${error.arguments.map((value) => JSON.stringify(value)).join(", ")}.`
    case "InvalidValue":
      return error.value === ""
        ? `The flag --${error.option} needs a value.`
        : /^\d+ occurrences$/.test(error.value)
        ? `The flag --${error.option} is there more than once.`
        : `${error.kind === "flag" ? "--" : ""}${error.option} cannot be ${
          JSON.stringify(error.value)
        }: ${error.expected}.`
    default:
      return sentence(error.message)
  }
}

const didYouMean = (suggestions: ReadonlyArray<string>): string =>
  suggestions.length === 0 ? "." : `, did you mean ${suggestions.join(" or ")}?`

/**
 * A line of input, counted from 1. `text` is absent where the line was longer than `maxLineLength`.
 *
 * @since 0.1.0
 */
export interface Line {
  readonly number: number
  readonly text: string | undefined
}

/**
 * How many characters a line may have; as many as the largest message has bytes by default.
 *
 * @since 0.1.0
 */
export const maxLineLength = 1_048_576

/**
 * The lines of a text. However long a line is, at most `maxLineLength` of it is in memory.
 *
 * @since 0.1.0
 */
export const lines = <E, R>(bytes: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Line, E, R> =>
  Stream.mapAccum(Stream.decodeText(bytes), (): Line => ({ number: 1, text: "" }), takeLines, {
    onHalt: (rest) => rest.text === "" ? [] : [rest]
  })

const takeLines = (begun: Line, chunk: string): readonly [Line, ReadonlyArray<Line>] => {
  const complete: Array<Line> = []
  let { number, text } = begun
  for (const [index, piece] of chunk.split("\n").entries()) {
    if (index > 0) {
      complete.push({ number: number++, text: text?.replace(/\r$/, "") })
      text = ""
    }
    text = text === undefined || text.length + piece.length > maxLineLength ? undefined : text + piece
  }
  return [{ number, text }, complete]
}
