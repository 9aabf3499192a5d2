/**
 * `kosmonaut demo`: a broker on free ports, a Worker, a Client and three real WebSocket connections, told as a story.
 *
 * Every line tells what has just happened: it is printed once everybody has received it. On a terminal it stays
 * and broadcasts what the person types until the end of input; elsewhere it broadcasts what is piped in and ends by itself.
 *
 * @since 0.1.0
 */

import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Client from "../client/Client.ts"
import * as Kosmonaut from "../client/Kosmonaut.ts"
import * as Worker from "../client/Worker.ts"
import type { JsonObject } from "../protocol/Json.ts"
import * as Broker from "../server/Broker.ts"
import * as Vhosts from "../server/Vhosts.ts"
import * as CommandLine from "./CommandLine.ts"
import * as DemoBrowser from "./DemoBrowser.ts"
import * as DemoPage from "./DemoPage.ts"
import * as Transcript from "./DemoTranscript.ts"

const path = "/demo"
const room = "presence-station"

/** How long piped input may be silent before the demo goes on without. */
const patience = "1 second"

const StoryLive = Layer.unwrap(Effect.gen(function*() {
  const broker = yield* Broker.Broker
  const vhosts = yield* Vhosts.Vhosts
  const vhost = yield* vhosts.get(path)
  return Kosmonaut.layer({ url: broker.urls(vhost).backend })
})).pipe(
  Layer.provideMerge(
    Broker.layer({
      websocketPort: 0,
      backendPort: 0,
      tcpPort: 0,
      browsers: { broadcast: true },
      vhosts: [{ path }]
    })
  )
)

/**
 * `kosmonaut demo [--once | --open]`.
 *
 * @since 0.1.0
 */
export const demo = Command.make("demo", {
  once: Flag.Boolean("once").pipe(
    Flag.withDefault(false),
    Flag.withDescription("End after the story, also on a terminal; default no")
  ),
  open: Flag.Boolean("open").pipe(
    Flag.withDefault(false),
    Flag.withDescription(
      "Serve a chat for your browser instead, print its URL, and open it if standard output is a terminal; default no"
    )
  )
}, ({ once, open }) =>
  Effect.gen(function*() {
    if (once && open) {
      return yield* CommandLine.wrongUse("--once and --open are for two different demos: give one of them.")
    }
    if (open) return yield* CommandLine.untilInterrupted(DemoPage.serve)
    return yield* CommandLine.untilInterrupted(Effect.provide(Effect.scoped(tell(once)), StoryLive))
  })).pipe(
    Command.withDescription(
      `Watch a broker, a worker and three browsers at work. On a terminal you can then type into the room; what is piped in is broadcast line by line, until its end or ${patience} of silence. With --open it is a chat in your browser`
    ),
    Command.withExamples([
      { command: "kosmonaut demo" },
      { command: "kosmonaut demo --open", description: "A chat in your browser" },
      { command: "echo hello | kosmonaut demo", description: "Broadcast it into the room" }
    ])
  )

const tell = Effect.fnUntraced(function*(once: boolean) {
  const stdio = yield* Stdio.Stdio
  const stdinIsTerminal = yield* stdio.stdinIsTerminal
  const stdoutIsTerminal = yield* stdio.stdoutIsTerminal
  const transcript = yield* Transcript.make(stdoutIsTerminal)

  yield* setUp(transcript)
  const crew = yield* comeIn(transcript)
  const staying = yield* talk(transcript, crew)
  if (!stdinIsTerminal || (stdoutIsTerminal && !once)) {
    yield* sayWhatIsTyped(transcript, staying, stdinIsTerminal)
  }
  yield* sayGoodbye(transcript)
})

const setUp = Effect.fnUntraced(function*(transcript: Transcript.Transcript) {
  const broker = yield* Broker.Broker
  const client = yield* Client.Client
  const worker = yield* Worker.Worker
  yield* transcript.title("A broker, a worker and three browsers, all in this process, talking over real sockets.")

  yield* transcript.chapter("Getting ready")
  yield* transcript.line(
    "broker",
    `is up, for browsers on port ${broker.websocketPort}, for backends on ${broker.backendPort}`
  )
  yield* Effect.forkScoped(worker.listen({ onMessage: ({ data, event }) => answer(client, event, data) }))
  yield* worker.changes.pipe(Stream.filter(({ _tag }) => _tag === "Connected"), Stream.take(1), Stream.runDrain)
  yield* transcript.line("worker", "is connected and handles what browsers trigger")
  yield* client.openChannel(room)
  yield* transcript.line("backend", `opens the channel ${room}`)
})

// What the worker does with events: it broadcasts an answer into the room.
const answer = (client: Client.Client["Service"], event: string, data: JsonObject) => {
  switch (event) {
    case "asked":
      return client.broadcast(room, "answered", { text: "384,400 kilometres, on average" })
    default:
      return client.broadcast(room, "answered", { text: `I copy, ${text(data.text).length} characters` })
  }
}

const comeIn = Effect.fnUntraced(function*(transcript: Transcript.Transcript) {
  const broker = yield* Broker.Broker
  const client = yield* Client.Client
  const vhosts = yield* Vhosts.Vhosts
  const { websocket } = broker.urls(yield* vhosts.get(path))
  yield* transcript.chapter(
    "Browsers join: each authenticates by a token that the backend requested, and all members are told"
  )

  const crew: Array<DemoBrowser.DemoBrowser> = []
  for (const name of ["yuri", "valentina", "alexei"]) {
    const browser = yield* DemoBrowser.connect(websocket, name)
    const token = yield* client.requestSingleAccessToken(name, "presence-.*")
    yield* browser.send({ auth: { token: Redacted.value(token) } })
    yield* browser.receive(":authenticated")
    yield* browser.send({ subscribe: { channel: room } })
    yield* browser.receive(":subscribed")
    yield* Effect.forEach([...crew, browser], (other) => other.receive(":memberJoined"), { discard: true })
    yield* transcript.line(name, crew.length === 0 ? "joins and finds nobody" : `joins and finds ${names(crew)}`)
    if (crew.length > 0) yield* transcript.effect(`${names(crew)} receive${s(crew)} that ${name} has joined`)
    crew.push(browser)
  }
  return crew
})

const talk = Effect.fnUntraced(
  function*(transcript: Transcript.Transcript, crew: ReadonlyArray<DemoBrowser.DemoBrowser>) {
    const client = yield* Client.Client
    const [yuri, valentina, alexei] = crew as [
      DemoBrowser.DemoBrowser,
      DemoBrowser.DemoBrowser,
      DemoBrowser.DemoBrowser
    ]

    yield* transcript.chapter("A browser broadcasts, which this broker allows: all subscribers receive it")
    yield* valentina.send({ broadcast: { channel: room, event: "said", data: { text: "Good morning, station!" } } })
    const said = yield* receiveAll(crew, "said")
    yield* transcript.line("valentina", `says: ${text(said.text)}`)
    yield* transcript.effect(`received by ${names(crew)}`)

    yield* transcript.chapter("A browser triggers: one worker handles the event and broadcasts an answer")
    yield* alexei.send({ trigger: { event: "asked", data: { text: "How far is the Moon?" } } })
    yield* transcript.line("alexei", "asks: How far is the Moon?")
    const answered = yield* receiveAll(crew, "answered")
    yield* transcript.line("worker", `answers into the room: ${text(answered.text)}`)
    yield* transcript.effect(`received by ${names(crew)}`)

    yield* transcript.chapter("A backend broadcasts: any program that has the URL can")
    yield* client.broadcast(room, "announced", { text: "The supply ship docks in five minutes" })
    const announced = yield* receiveAll(crew, "announced")
    yield* transcript.line("backend", `announces: ${text(announced.text)}`)
    yield* transcript.effect(`received by ${names(crew)}`)

    yield* transcript.chapter("A browser leaves")
    const staying = [yuri, valentina]
    yield* alexei.send({ unsubscribe: { channel: room, data: { reason: "a spacewalk" } } })
    const left = yield* receiveAll(staying, ":memberLeft")
    yield* transcript.line("alexei", `leaves for ${text(left.reason)}`)
    yield* transcript.effect(`${names(staying)} receive that ${text(left.uid)} has left`)
    return staying
  }
)

const sayWhatIsTyped = Effect.fnUntraced(function*(
  transcript: Transcript.Transcript,
  staying: ReadonlyArray<DemoBrowser.DemoBrowser>,
  isTerminal: boolean
) {
  const yuri = staying[0]!
  const say = Effect.fnUntraced(function*(line: string) {
    yield* yuri.send({ broadcast: { channel: room, event: "said", data: { text: line }, trigger: "said" } })
    const said = yield* receiveAll(staying, "said")
    yield* transcript.line("yuri", `says: ${text(said.text)}`)
    yield* transcript.effect(`received by ${names(staying)}`)
    const answered = yield* receiveAll(staying, "answered")
    yield* transcript.line("worker", `answers: ${text(answered.text)}`)
  })

  const chapter = isTerminal
    ? "Your turn: you are yuri. Type a line and press Enter; Ctrl-D ends"
    : "Your turn: each line of the input is said by yuri"
  if (isTerminal) yield* transcript.chapter(chapter)
  let first = !isTerminal
  // Unlike that of Stdio it is closed when nobody reads it any more, so that an open pipe does not keep the process alive.
  const stdin = NodeStream.fromReadable({ evaluate: () => process.stdin })
  yield* CommandLine.lines(isTerminal ? stdin : Stream.timeout(stdin, patience)).pipe(
    Stream.map(({ text }) => (text ?? "A line too long to say").replace(/\p{Cc}/gu, " ").trim()),
    Stream.filter((line) => line !== ""),
    Stream.runForEach((line) =>
      Effect.gen(function*() {
        if (first) yield* transcript.chapter(chapter)
        first = false
        yield* say(line)
      })
    )
  )
})

const sayGoodbye = Effect.fnUntraced(function*(transcript: Transcript.Transcript) {
  // In a clone of the repository the package is not installed.
  const command = import.meta.url.endsWith(".ts") ? "npm run kosmonaut --" : "npx kosmonaut"
  yield* transcript.chapter("Go on with")
  yield* transcript.next(`${command} serve`, "a broker that stays, and prints what the others need")
  yield* transcript.next(`${command} --help`, "what else there is")
  yield* transcript.next("README.md", "a first program")
})

// Waits until each has received the event, and gives the data that the first received.
const receiveAll = Effect.fnUntraced(function*(browsers: ReadonlyArray<DemoBrowser.DemoBrowser>, event: string) {
  const received = yield* Effect.forEach(browsers, (browser) => browser.receive(event))
  return received[0]!
})

const names = (browsers: ReadonlyArray<DemoBrowser.DemoBrowser>): string =>
  browsers.map(({ name }) => name).join(", ").replace(/, (\w+)$/, " and $1")

const s = (browsers: ReadonlyArray<DemoBrowser.DemoBrowser>): string => browsers.length === 1 ? "s" : ""

const text = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value)
