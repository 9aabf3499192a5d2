/**
 * `kosmonaut broadcast`: one event from the arguments, or one for each line of standard input.
 *
 * Data reach the browsers with every number as it was written. Lines are read no faster than the broker answers: at most
 * `concurrency` requests are in flight, and only these are in memory. A line that cannot be broadcast is reported with its
 * number and counted, and the others go on.
 *
 * @since 0.1.0
 */

import * as Argument from "effect/cli/Argument"
import * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Client from "../client/Client.ts"
import * as Kosmonaut from "../client/Kosmonaut.ts"
import { messageOf } from "../protocol/ErrorText.ts"
import * as Json from "../protocol/Json.ts"
import * as CommandLine from "./CommandLine.ts"

const form = `{"event":…,"data":{…}}`

/**
 * `kosmonaut broadcast CHANNEL EVENT JSON` and `kosmonaut broadcast CHANNEL [EVENT] --stdin`.
 *
 * @since 0.1.0
 */
export const broadcast = Command.make(
  "broadcast",
  {
    channel: Argument.String("channel").pipe(Argument.withDescription("The channel's name; it must be open")),
    event: Argument.String("event").pipe(
      Argument.withDescription("The event's name; with --stdin that of the lines that are plain data"),
      Argument.optional
    ),
    json: Argument.String("json").pipe(
      Argument.withDescription("The event's data, a JSON object; default {}"),
      Argument.optional
    ),
    stdin: Flag.Boolean("stdin").pipe(
      Flag.withDefault(false),
      Flag.withDescription(
        `Broadcast an event for each line of standard input, ${form} or a plain JSON object as its data; default no`
      )
    ),
    concurrency: Flag.Int("concurrency").pipe(
      Flag.withMetavar("<number>"),
      Flag.filter((number) => number >= 1 && number <= 10_000, () => "it is 1 to 10000"),
      Flag.withDefault(64),
      Flag.withDescription("How many lines of --stdin are under way at a time; default 64, and 1 keeps their order")
    ),
    url: CommandLine.url
  },
  Effect.fnUntraced(function*(input) {
    yield* input.stdin ? broadcastLines(input) : broadcastOne(input)
  })
).pipe(
  Command.provide(({ url }) => Kosmonaut.layerClient({ url, client: { retry: "none" } })),
  Command.withDescription(
    "Broadcast an event to every browser on a channel, or with --stdin one for each line of input"
  ),
  Command.withExamples([
    { command: `kosmonaut broadcast room said '{"text":"hello"}'` },
    {
      command: "tail -f app.log.json | kosmonaut broadcast log written --stdin",
      description: "Each line is the data of an event written"
    },
    { command: "kosmonaut broadcast room --stdin < events.jsonl", description: `Each line is ${form}` }
  ])
)

interface Input {
  readonly channel: string
  readonly event: Option.Option<string>
  readonly json: Option.Option<string>
  readonly concurrency: number
}

const broadcastOne = Effect.fnUntraced(function*({ channel, event, json }: Input) {
  if (Option.isNone(event)) {
    return yield* CommandLine.wrongUse("The argument event is missing: name the event, or give --stdin")
  }
  const client = yield* Client.Client
  const data = Option.isNone(json) ? Json.empty : yield* Effect.fromResult(parseData(json.value))
  yield* client.broadcast(channel, event.value, data)
  yield* Console.log(`${event.value} is broadcast on ${channel}`)
})

// A number that JavaScript would write otherwise, as 1.0 or 9007199254740993, keeps its text.
const parseExactly = (text: string): Result.Result<unknown, unknown> =>
  Result.flatMap(
    Json.parse(text),
    () =>
      Result.try(() =>
        exactJson.parse(text, (_, value, { source }) =>
          typeof value === "number" && String(value) !== source ? exactJson.rawJSON(source) : value)
      )
  )

/** What JSON has in every supported version of Node.js, and not in the compiler's library yet. */
interface ExactJson {
  readonly parse: (
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source: string }) => unknown
  ) => unknown
  readonly rawJSON: (text: string) => unknown
}

const exactJson = JSON as unknown as ExactJson

const parseData = (text: string): Result.Result<Json.JsonObject, CliError.ValidationError> =>
  Result.mapError(parseExactly(text), (cause) => `${shorten(text)} is not JSON: ${reason(cause)}`).pipe(
    Result.flatMap((value) =>
      Json.isObject(value)
        ? Result.succeed(value)
        : Result.fail(`${shorten(text)} is not a JSON object, as an event's data must be`)
    ),
    Result.mapError(CommandLine.wrongUse)
  )

interface Progress {
  broadcast: number
  failed: number
}

const broadcastLines = Effect.fnUntraced(function*({ channel, concurrency, event, json }: Input) {
  if (Option.isSome(json)) {
    return yield* CommandLine.wrongUse("With --stdin the data comes from standard input: leave out the JSON argument")
  }
  const client = yield* Client.Client
  const stdio = yield* Stdio.Stdio
  const progress: Progress = { broadcast: 0, failed: 0 }
  const status = yield* showStatus(progress)

  const broadcastLine = (line: CommandLine.Line) =>
    Effect.fromResult(parseLine(line, Option.getOrUndefined(event))).pipe(
      Effect.flatMap(({ data, event }) => client.broadcast(channel, event, data)),
      Effect.matchEffect({
        onSuccess: () => Effect.sync(() => progress.broadcast++),
        onFailure: (error) => {
          progress.failed++
          // No further line can do better.
          if (error._tag === "UnauthorizedError") return Effect.fail(error)
          return Effect.andThen(status.clear, CommandLine.report(`line ${line.number}: ${error.message}`))
        }
      })
    )

  yield* CommandLine.lines(stdio.stdin).pipe(
    Stream.filter(({ text }) => text?.trim() !== ""),
    Stream.mapEffect(broadcastLine, { concurrency, unordered: true }),
    Stream.runDrain,
    Effect.ensuring(status.end)
  )
  if (progress.failed > 0) return yield* new CommandLine.Reported()
}, Effect.scoped)

const parseLine = (
  { text }: CommandLine.Line,
  event: string | undefined
): Result.Result<{ readonly event: string; readonly data: Json.JsonObject }, CliError.ValidationError> =>
  text === undefined
    ? Result.fail(CommandLine.wrongUse(`it is longer than ${CommandLine.maxLineLength} characters`))
    : Result.flatMap(parseData(text), (value) => {
      const { data, event: name, ...others } = value
      if (typeof name === "string" && Json.isObject(data) && Object.keys(others).length === 0) {
        return Result.succeed({ event: name, data })
      }
      return event === undefined
        ? Result.fail(CommandLine.wrongUse(
          `${shorten(text)} is plain data, which needs an event: name one after the channel, or write ${form}`
        ))
        : Result.succeed({ event, data: value })
    })

// A line in place on a terminal, ten times a second, and one for good at the end.
const showStatus = Effect.fnUntraced(function*(progress: Progress) {
  const stdio = yield* Stdio.Stdio
  const isTerminal = yield* stdio.stderrIsTerminal
  const start = yield* Clock.currentTimeMillis
  const put = (text: string) =>
    isTerminal ? Effect.ignore(Stream.run(Stream.make(text), stdio.stderr({ endOnDone: false }))) : Effect.void
  const clear = put("\r\u001b[2K")

  const summary = Effect.map(Clock.currentTimeMillis, (now) => {
    const seconds = Math.max(now - start, 1) / 1000
    const rate = Math.round(progress.broadcast / seconds)
    return `${progress.broadcast} broadcast, ${progress.failed} failed in ${seconds.toFixed(2)} s, ${rate}/s`
  })
  const rewriting = yield* Effect.flatMap(summary, (text) => put(`\r\u001b[2K${text}`)).pipe(
    Effect.repeat(Schedule.spaced("100 millis")),
    Effect.forkScoped
  )
  return {
    clear,
    end: Fiber.interrupt(rewriting).pipe(
      Effect.andThen(clear),
      Effect.andThen(summary),
      Effect.flatMap((text) => Console.log(text))
    )
  }
})

// The token is hidden first: half of one would not be recognised.
const shorten = (text: string): string => {
  const shown = CommandLine.conceal(text)
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown
}

// Without the piece of the text that the parser likes to quote.
const reason = (cause: unknown): string => messageOf(cause).replace(/, (\.\.\.)?".*$/s, "")
