/**
 * The small commands: requests of a Client, and a Worker that prints its events.
 *
 * @since 0.1.0
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Client from "../client/Client.ts"
import * as ConnectionStates from "../client/ConnectionState.ts"
import * as Kosmonaut from "../client/Kosmonaut.ts"
import * as Worker from "../client/Worker.ts"
import * as CommandLine from "./CommandLine.ts"

const channel = Argument.String("channel").pipe(
  Argument.withDescription("The channel's name; presence-… and private-… need a token of browsers")
)

/**
 * `kosmonaut open CHANNEL`.
 *
 * @since 0.1.0
 */
export const open = Command.make(
  "open",
  { channel, url: CommandLine.url },
  ({ channel }) =>
    Client.Client.use((client) => client.openChannel(channel)).pipe(
      Effect.andThen(Console.log(`${channel} is open`))
    )
).pipe(
  Command.provide(({ url }) => Kosmonaut.layerClient({ url, client: { retry: "none" } })),
  Command.withDescription("Open a channel, so that browsers may subscribe to it. One that is open stays open"),
  Command.withExamples([{ command: "kosmonaut open presence-room" }])
)

/**
 * `kosmonaut close CHANNEL`.
 *
 * @since 0.1.0
 */
export const close = Command.make(
  "close",
  { channel, url: CommandLine.url },
  ({ channel }) =>
    Client.Client.use((client) => client.closeChannel(channel)).pipe(
      Effect.andThen(Console.log(`${channel} is closed`))
    )
).pipe(
  Command.provide(({ url }) => Kosmonaut.layerClient({ url, client: { retry: "none" } })),
  Command.withDescription("Close a channel. Its subscribers receive :unsubscribed"),
  Command.withExamples([{ command: "kosmonaut close presence-room" }])
)

/**
 * `kosmonaut token UID PATTERN`.
 *
 * @since 0.1.0
 */
export const token = Command.make("token", {
  uid: Argument.String("uid").pipe(Argument.withDescription("The user's id, as others on presence channels see it")),
  pattern: Argument.String("pattern").pipe(
    Argument.withDescription("A regular expression (RE2) for the whole name of the channels that are allowed")
  ),
  url: CommandLine.url
}, ({ pattern, uid }) =>
  Client.Client.use((client) => client.requestSingleAccessToken(uid, pattern)).pipe(
    Effect.flatMap((token) => Console.log(Redacted.value(token)))
  )).pipe(
    Command.provide(({ url }) => Kosmonaut.layerClient({ url, client: { retry: "none" } })),
    Command.withDescription("Print a token with which one browser may authenticate once, within an hour"),
    Command.withExamples([
      { command: "kosmonaut token joe '.*'", description: "Any channel" },
      { command: "kosmonaut token joe 'presence-(room|hall)'", description: "Two channels" }
    ])
  )

/**
 * `kosmonaut listen`.
 *
 * @since 0.1.0
 */
export const listen = Command.make("listen", { url: CommandLine.url }, () =>
  Effect.gen(function*() {
    const worker = yield* Worker.Worker
    const state = yield* ConnectionStates.make
    yield* Effect.forkScoped(reportChanges(SubscriptionRef.changes(state)), { startImmediately: true })
    return yield* worker.listen({
      state,
      onMessage: ({ attempt, data, event, id, uid }) =>
        CommandLine.write(`${JSON.stringify({ event, data, uid, id, attempt })}\n`),
      onError: (error) => CommandLine.report(error.message)
    })
  }).pipe(
    Effect.scoped,
    // Nobody reads standard output any more.
    Effect.catchTag("PlatformError", () => Effect.void),
    CommandLine.untilInterrupted,
    Effect.provide(Logger.layer([logger]))
  )).pipe(
    Command.provide(({ url }) => Kosmonaut.layer({ url })),
    Command.withDescription(
      "Print each event that browsers trigger as a line {\"event\",\"data\",\"uid\",\"id\",\"attempt\"}, until interrupted. An event goes to one worker: what is printed here no other worker gets. attempt is above 1 if it was delivered before"
    ),
    Command.withExamples([
      { command: "kosmonaut listen" },
      { command: "kosmonaut listen | jq 'select(.event == \"said\") | .data.text'", description: "Pick from them" }
    ])
  )

// What the library logs, as the sentences it consists of.
const logger = Logger.withConsoleError(
  Logger.make(({ message }) => CommandLine.conceal(`kosmonaut: ${[message].flat().map(String).join(" ")}`))
)

// The library logs why a connection was lost; why one could not be made is in the state alone.
const reportChanges = (changes: Stream.Stream<ConnectionState>): Effect.Effect<void> =>
  changes.pipe(
    Stream.mapAccum(
      (): ConnectionState["_tag"] => "Idle",
      (previous, state) => [state._tag, sentence(previous, state)]
    ),
    Stream.changes,
    Stream.runForEach(CommandLine.report)
  )

type ConnectionState = ConnectionStates.ConnectionState

const sentence = (previous: ConnectionState["_tag"], state: ConnectionState): ReadonlyArray<string> => {
  switch (state._tag) {
    case "Idle":
      return []
    case "Connecting":
      return previous === "Idle" ? ["connecting"] : []
    case "Connected":
      return ["connected"]
    case "Disconnected":
      return previous === "Connected" ? [] : [`${CommandLine.sentence(state.reason.message)} Trying again`]
  }
}
