/**
 * `kosmonaut admin`: the commands of WebRocket's own `webrocket-admin`, and more, over the admin port of a broker. They print
 * tables for people, and with `--json` a line of JSON for each item.
 *
 * @since 0.1.0
 */

import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { connect, flags, printList, type Target, vhost } from "./AdminTarget.ts"
import * as CommandLine from "./CommandLine.ts"
import * as Table from "./Table.ts"

const channel = Argument.String("channel").pipe(Argument.withDescription("The channel's name"))

const said = ({ json }: Pick<Target, "json">, value: object, sentence: string) =>
  Console.log(json ? JSON.stringify(value) : sentence)

const status = Command.make("status", flags, (input) =>
  Effect.gen(function*() {
    const status = yield* (yield* connect(input)).broker.status()
    const { counts, totals, uptime, version, vhosts } = status
    const rows = Object.entries({ version, "up for": `${uptime} seconds`, vhosts, ...counts, ...totals })
    const text = Table.make(["what", "now"])(rows).trimEnd()
    yield* Console.log(input.json ? JSON.stringify(status) : text)
  })).pipe(
    Command.withDescription(
      "Print what the broker has now: browsers, workers, channels, subscriptions, queued and unacknowledged events, dead letters; and how many broadcasts, deliveries, events and acknowledgements it has counted"
    ),
    Command.withShortDescription("Print what the broker has now"),
    Command.withExamples([{ command: "kosmonaut admin status --storage-dir /var/lib/kosmonaut" }])
  )

const listVhosts = Command.make(
  "list-vhosts",
  flags,
  (input) =>
    Effect.flatMap(connect(input), ({ vhosts }) =>
      printList(
        input,
        (query) => vhosts.list({ query }),
        ["vhost", "browsers", "workers", "channels", "queued", "unacked", "dead letters"],
        ({ counts, path }) => [
          path,
          counts.browsers,
          counts.workers,
          counts.channels,
          counts.queued,
          counts.unacked,
          counts.deadLetters
        ]
      ))
).pipe(
  Command.withDescription("List the vhosts, and how many of each they have"),
  Command.withExamples([{ command: "kosmonaut admin list-vhosts --json | jq -r .path" }])
)

const addVhost = Command.make("add-vhost", { path: vhost, ...flags }, (input) =>
  Effect.gen(function*() {
    const { vhosts } = yield* connect(input)
    const added = yield* vhosts.add({ payload: { path: input.path } })
    yield* said(input, added, `${added.path} is there, with the access token ${added.token}`)
  })).pipe(
    Command.withDescription("Add a vhost, and print its access token"),
    Command.withExamples([{ command: "kosmonaut admin add-vhost /chat" }])
  )

const showVhost = Command.make("show-vhost", { path: vhost, ...flags }, (input) =>
  Effect.gen(function*() {
    const { vhosts } = yield* connect(input)
    const shown = yield* vhosts.get({ params: { vhost: input.path } })
    const rows = Object.entries({
      vhost: shown.path,
      "access token": shown.token,
      "access tokens": shown.tokens,
      ...shown.counts
    })
    yield* said(input, shown, Table.make(["what", "now"])(rows).trimEnd())
  })).pipe(
    Command.withDescription("Show a vhost, its access token, and how many of each it has"),
    Command.withExamples([{ command: "kosmonaut admin show-vhost /chat --json | jq -r .token" }])
  )

const deleteVhost = Command.make("delete-vhost", { path: vhost, ...flags }, (input) =>
  Effect.gen(function*() {
    const { vhosts } = yield* connect(input)
    yield* vhosts.remove({ params: { vhost: input.path } })
    yield* said(input, { path: input.path }, `${input.path} is removed`)
  })).pipe(
    Command.withDescription(
      "Remove a vhost: its workers are dismissed, its browsers disconnected, its events and dead letters deleted"
    ),
    Command.withShortDescription("Remove a vhost with all that it has"),
    Command.withExamples([{ command: "kosmonaut admin delete-vhost /chat" }])
  )

const regenerateVhostToken = Command.make(
  "regenerate-vhost-token",
  { path: vhost, ...flags },
  (input) =>
    Effect.gen(function*() {
      const { tokens } = yield* connect(input)
      const made = yield* tokens.regenerate({ params: { vhost: input.path } })
      yield* said(input, made, `${input.path} has the access token ${made.token}, and no other one`)
    })
).pipe(
  Command.withDescription(
    "Replace the access tokens of a vhost by a new random one, and print it. Its Clients and Workers are disconnected, and need the new one to come back; its browsers stay"
  ),
  Command.withShortDescription("Replace the access tokens of a vhost by a new one"),
  Command.withExamples([{ command: "kosmonaut admin regenerate-vhost-token /chat" }])
)

const clearVhosts = Command.make("clear-vhosts", flags, (input) =>
  Effect.gen(function*() {
    const { vhosts } = yield* connect(input)
    const removed = yield* clear(
      vhosts.list({ query: { limit: 1000 } }),
      ({ path }) => vhosts.remove({ params: { vhost: path } })
    )
    yield* said(input, { removed }, `${removed} vhost${removed === 1 ? " is" : "s are"} removed`)
  })).pipe(
    Command.withDescription("Remove all vhosts, each as delete-vhost does"),
    Command.withExamples([{ command: "kosmonaut admin clear-vhosts" }])
  )

// Until there are none, so that those that come meanwhile go as well; one that somebody else removes is gone.
const clear = <A, E extends { readonly _tag: string }, R>(
  read: Effect.Effect<{ readonly items: ReadonlyArray<A> }, E, R>,
  remove: (item: A) => Effect.Effect<unknown, E, R>
): Effect.Effect<number, E, R> =>
  Effect.gen(function*() {
    let removed = 0
    for (let items = (yield* read).items; items.length > 0; items = (yield* read).items) {
      for (const item of items) {
        yield* Effect.catchIf(remove(item), ({ _tag }) => _tag === "NotFoundError", () => Effect.void)
        removed++
      }
    }
    return removed
  })

const listChannels = Command.make("list-channels", {
  vhost,
  prefix: Flag.String("prefix").pipe(
    Flag.withMetavar("<text>"),
    Flag.optional,
    Flag.withDescription("Only channels whose names begin with this; default all")
  ),
  ...flags
}, (input) =>
  Effect.flatMap(connect(input), ({ channels }) =>
    printList(
      input,
      (page) => channels.list({ params: input, query: { ...page, ...prefixOf(input) } }),
      ["channel", "kind", "subscribers"],
      ({ kind, name, subscribers }) => [name, kind, subscribers]
    ))).pipe(
    Command.withDescription("List the open channels of a vhost"),
    Command.withExamples([{ command: "kosmonaut admin list-channels /chat --prefix presence-" }])
  )

const prefixOf = ({ prefix }: { readonly prefix: Option.Option<string> }) =>
  Option.isSome(prefix) ? { prefix: prefix.value } : {}

const addChannel = Command.make("add-channel", { vhost, channel, ...flags }, (input) =>
  Effect.gen(function*() {
    const { channels } = yield* connect(input)
    const opened = yield* channels.open({ params: input })
    yield* said(input, opened, `${opened.name} is open`)
  })).pipe(
    Command.withDescription("Open a channel of a vhost. One that is open stays open"),
    Command.withExamples([{ command: "kosmonaut admin add-channel /chat room" }])
  )

const deleteChannel = Command.make("delete-channel", { vhost, channel, ...flags }, (input) =>
  Effect.gen(function*() {
    const { channels } = yield* connect(input)
    yield* channels.close({ params: input })
    yield* said(input, { name: input.channel }, `${input.channel} is closed`)
  })).pipe(
    Command.withDescription("Close a channel of a vhost. Its subscribers receive :unsubscribed"),
    Command.withExamples([{ command: "kosmonaut admin delete-channel /chat room" }])
  )

const clearChannels = Command.make("clear-channels", { vhost, ...flags }, (input) =>
  Effect.gen(function*() {
    const { channels } = yield* connect(input)
    const closed = yield* clear(
      channels.list({ params: input, query: { limit: 1000 } }),
      ({ name }) => channels.close({ params: { vhost: input.vhost, channel: name } })
    )
    yield* said(input, { closed }, `${closed} channel${closed === 1 ? " is" : "s are"} closed`)
  })).pipe(
    Command.withDescription("Close all channels of a vhost"),
    Command.withExamples([{ command: "kosmonaut admin clear-channels /chat" }])
  )

const listWorkers = Command.make(
  "list-workers",
  { vhost, ...flags },
  (input) =>
    Effect.flatMap(connect(input), ({ workers }) =>
      printList(
        input,
        (query) => workers.list({ params: input, query }),
        ["worker", "seconds", "unacked", "prefetch", "takes"],
        ({ id, lifecycle, prefetch, requests, seconds, unacked }) => [
          id,
          seconds,
          unacked,
          prefetch ?? "-",
          ["events", ...requests ? ["requests"] : [], ...lifecycle ? ["lifecycle"] : []].join(", ")
        ]
      ))
).pipe(
  Command.withDescription(
    "List the workers of a vhost: for how long each is connected, how many events it has not acknowledged, and how many it wants at most"
  ),
  Command.withShortDescription("List the workers of a vhost"),
  Command.withExamples([{ command: "kosmonaut admin list-workers /chat" }])
)

const browsers = Command.make(
  "browsers",
  { vhost, ...flags },
  (input) =>
    Effect.flatMap(connect(input), ({ browsers }) =>
      printList(
        input,
        (query) => browsers.list({ params: input, query }),
        ["browser", "user", "subscriptions", "address", "seconds", "queued bytes"],
        ({ address, queuedBytes, seconds, sid, subscriptions, uid }) => [
          sid,
          uid ?? "-",
          subscriptions,
          address ?? "-",
          seconds ?? "-",
          queuedBytes ?? "-"
        ]
      ))
).pipe(
  Command.withDescription(
    "List the connected browsers of a vhost: their users, where they connect from, for how long, and how many bytes are queued for each"
  ),
  Command.withShortDescription("List the connected browsers of a vhost, and their users"),
  Command.withExamples([{ command: "kosmonaut admin browsers /chat --json | jq -r 'select(.uid == \"joe\") | .sid'" }])
)

const disconnect = Command.make("disconnect", {
  vhost,
  sid: Argument.String("sid").pipe(
    Argument.withDescription("The browser's sid, as browsers prints it"),
    Argument.optional
  ),
  uid: Flag.String("uid").pipe(
    Flag.withMetavar("<uid>"),
    Flag.optional,
    Flag.withDescription("Disconnect all browsers of this user instead")
  ),
  ...flags
}, (input) =>
  Effect.gen(function*() {
    const { sid, uid, vhost } = input
    if (Option.isSome(sid) === Option.isSome(uid)) {
      return yield* CommandLine.wrongUse("Give the sid of a browser, or --uid, and not both")
    }
    const { browsers } = yield* connect(input)
    const result = yield* Option.isSome(sid)
      ? browsers.disconnect({ params: { vhost, sid: sid.value } })
      : browsers.disconnectUser({ params: { vhost, uid: Option.getOrThrow(uid) } })
    const { disconnected } = result
    yield* said(input, result, `${disconnected} browser${disconnected === 1 ? " is" : "s are"} disconnected`)
  })).pipe(
    Command.withDescription(
      "Disconnect a browser of a vhost, or all browsers of a user. Libraries do not reconnect by themselves after that"
    ),
    Command.withShortDescription("Disconnect a browser, or all browsers of a user"),
    Command.withExamples([{ command: "kosmonaut admin disconnect /chat --uid joe" }])
  )

const tail = Command.make("tail", {
  vhost: Argument.optional(vhost),
  channel: Argument.optional(channel),
  ...flags
}, (input) =>
  Effect.gen(function*() {
    const { channel, vhost } = input
    if (Option.isSome(vhost) !== Option.isSome(channel)) {
      return yield* CommandLine.wrongUse("Give a vhost and a channel, or none of both")
    }
    const client = yield* connect(input)
    if (Option.isNone(vhost) || Option.isNone(channel)) {
      return yield* Stream.runForEach(yield* client.broker.tailRefusals(), writeRefusals(input))
    }
    const params = { vhost: vhost.value, channel: channel.value }
    return yield* Stream.runForEach(yield* client.channels.tail({ params }), (item) =>
      item._tag === "Broadcast"
        ? CommandLine.write(`${JSON.stringify(item.message)}\n`)
        : item._tag === "Ended"
        ? CommandLine.report(CommandLine.sentence(`It ends: ${item.reason}`))
        : Effect.void)
  }).pipe(
    Effect.catchTags({
      // Nobody reads standard output any more.
      PlatformError: () => Effect.void,
      // The broker asks for a pause, which it never does.
      Retry: () => Effect.void,
      HttpClientError: () =>
        Effect.fail(CommandLine.wrongUse(`The connection to the broker at ${input.address} was lost`))
    }),
    CommandLine.untilInterrupted
  )).pipe(
    Command.withDescription(
      "Print what is broadcast on a channel as lines of JSON, as browsers receive it, until interrupted. Without a vhost and a channel print what the broker refuses: browsers, their messages, events and requests, counted each second"
    ),
    Command.withShortDescription("Print what is broadcast on a channel, or what is refused"),
    Command.withExamples([
      { command: "kosmonaut admin tail /chat room" },
      { command: "kosmonaut admin tail", description: "What is refused, and why" }
    ])
  )

interface Refusal {
  readonly metric: string
  readonly reason?: string
  readonly count: number
}

const writeRefusals = ({ json }: Target) => ({ refusals }: { readonly refusals: ReadonlyArray<Refusal> }) =>
  CommandLine.write(
    refusals.map((refusal) =>
      json
        ? `${JSON.stringify(refusal)}\n`
        : `${refusal.count} ${refusal.metric.replace("kosmonaut_broker_", "").replaceAll("_", " ")}${
          refusal.reason === undefined ? "" : `: ${refusal.reason}`
        }\n`
    ).join("")
  )

/**
 * `kosmonaut admin`.
 *
 * @since 0.1.0
 */
export const admin = Command.make("admin").pipe(
  Command.withDescription(
    "See and change what a broker has: vhosts, channels, browsers, workers. The commands are for the admin port of a broker, http://127.0.0.1:8082 unless you give --address, and need its cookie: give its storage folder, or the cookie itself"
  ),
  Command.withSubcommands([
    status,
    listVhosts,
    addVhost,
    showVhost,
    deleteVhost,
    regenerateVhostToken,
    clearVhosts,
    listChannels,
    addChannel,
    deleteChannel,
    clearChannels,
    listWorkers,
    browsers,
    disconnect,
    tail
  ]),
  Command.withExamples([
    { command: "kosmonaut admin status --storage-dir /var/lib/kosmonaut" },
    {
      command: "export KOSMONAUT_STORAGE_DIR=/var/lib/kosmonaut",
      description: "Set once where the cookie is"
    },
    { command: "kosmonaut admin list-channels /chat", description: "The open channels, and their subscribers" }
  ])
)
