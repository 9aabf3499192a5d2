/**
 * `kosmonaut dead-letters`: events that will not be handled any more: list, replay or discard them.
 *
 * A listing is never all in memory, and is printed as fast as it is read.
 *
 * @since 0.1.0
 */

import * as Argument from "effect/cli/Argument"
import type * as CliError from "effect/cli/CliError"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Client from "../client/Client.ts"
import type { DeadLetter } from "../client/DeadLetter.ts"
import * as Kosmonaut from "../client/Kosmonaut.ts"
import * as CommandLine from "./CommandLine.ts"

const form = `{"id","event","data","size","origin","attempts","reason","failedAt"}`

const which = (verb: "Replay" | "Discard") => ({
  id: Argument.String("id").pipe(
    Argument.withDescription("The dead letter's id, as list prints it"),
    Argument.optional
  ),
  all: Flag.Boolean("all").pipe(Flag.withDefault(false), Flag.withDescription(`${verb} all of them; default no`)),
  url: CommandLine.url
})

// The original answers 400 to every command that it does not know.
const unknown = () =>
  Effect.fail(CommandLine.wrongUse("This broker knows no dead letters: it answers 400, as the original does"))

const list = Command.make(
  "list",
  { url: CommandLine.url },
  () =>
    Client.Client.use((client) =>
      Stream.runForEach(client.deadLetters.list, (letter) => CommandLine.write(`${lineOf(letter)}\n`))
    ).pipe(
      Effect.catchReason("ProtocolError", "BadRequestError", unknown),
      // Nobody reads standard output any more.
      Effect.catchTag("PlatformError", () => Effect.void)
    )
).pipe(
  Command.provide(({ url }) => Kosmonaut.layerClient({ url })),
  Command.withDescription(
    `Print each dead letter as a line ${form}, the oldest first. "data" is null if it is too large to be sent; the broker still has it`
  ),
  Command.withShortDescription("Print each dead letter as one JSON line"),
  Command.withExamples([
    { command: "kosmonaut dead-letters list" },
    {
      command: "kosmonaut dead-letters list | jq -r '[.id, .event, .reason] | @tsv'",
      description: "What failed, and why"
    }
  ])
)

const replay = Command.make("replay", which("Replay"), (input) =>
  Effect.gen(function*() {
    const id = yield* chosen(input)
    const client = yield* Client.Client
    if (id !== undefined) {
      yield* client.deadLetters.replay(id)
      return yield* Console.log(`${id} is an event again`)
    }
    const { left, replayed } = yield* client.deadLetters.replayAll
    yield* Console.log(`${count(replayed)} ${replayed === 1 ? "is an event" : "are events"} again`)
    if (left > 0) {
      yield* CommandLine.report(
        `${count(left)} ${
          left === 1 ? "stays" : "stay"
        }: too many events are queued, or no worker takes lifecycle events. Replay again when that has changed`
      )
      return yield* new CommandLine.Reported()
    }
  }).pipe(Effect.catchReason("ProtocolError", "BadRequestError", unknown))).pipe(
    Command.provide(({ url }) => Kosmonaut.layerClient({ url })),
    Command.withDescription(
      "Replay a dead letter, or all of them, the oldest first, as new events with new attempts. Those for which the broker has no room stay dead letters"
    ),
    Command.withShortDescription("Replay a dead letter, or all of them"),
    Command.withExamples([
      { command: "kosmonaut dead-letters replay 5f0c1a9be27d-1k" },
      { command: "kosmonaut dead-letters replay --all" }
    ])
  )

const discard = Command.make("discard", which("Discard"), (input) =>
  Effect.gen(function*() {
    const id = yield* chosen(input)
    const client = yield* Client.Client
    if (id !== undefined) {
      yield* client.deadLetters.discard(id)
      return yield* Console.log(`${id} is discarded`)
    }
    const discarded = yield* client.deadLetters.discardAll
    yield* Console.log(`${count(discarded)} ${discarded === 1 ? "is" : "are"} discarded`)
  }).pipe(Effect.catchReason("ProtocolError", "BadRequestError", unknown))).pipe(
    Command.provide(({ url }) => Kosmonaut.layerClient({ url })),
    Command.withDescription("Throw a dead letter away, or all of them. They cannot be restored"),
    Command.withExamples([
      { command: "kosmonaut dead-letters discard 5f0c1a9be27d-1k" },
      { command: "kosmonaut dead-letters discard --all" }
    ])
  )

/**
 * `kosmonaut dead-letters list`, `replay ID`, `replay --all`, `discard ID` and `discard --all`.
 *
 * @since 0.1.0
 */
export const deadLetters = Command.make("dead-letters").pipe(
  Command.withDescription(
    "List, replay or discard dead letters: events whose handlers failed as often as allowed, which the broker stores"
  ),
  Command.withSubcommands([list, replay, discard]),
  Command.withExamples([
    { command: "kosmonaut dead-letters list", description: "See what failed, and why" },
    { command: "kosmonaut dead-letters replay --all", description: "Replay it, once the reason is gone" }
  ])
)

// All of them only by --all: an empty variable in a script must not mean it.
const chosen = (
  { all, id }: { readonly all: boolean; readonly id: Option.Option<string> }
): Effect.Effect<string | undefined, CliError.ValidationError> => {
  if (all && Option.isSome(id)) return Effect.fail(CommandLine.wrongUse("Give an id or --all, not both"))
  if (!all && Option.isNone(id)) return Effect.fail(CommandLine.wrongUse("An id is missing: give one, or --all"))
  return Effect.succeed(Option.getOrUndefined(id))
}

const lineOf = ({ attempts, data, event, failedAt, id, origin, reason, size }: DeadLetter): string =>
  JSON.stringify({
    ...{ id, event, data: data ?? null, size, origin, attempts, reason },
    failedAt: DateTime.formatIso(failedAt)
  })

const count = (letters: number): string => `${letters} dead letter${letters === 1 ? "" : "s"}`
