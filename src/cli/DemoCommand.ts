/**
 * `kosmonaut demo`: a broker on free ports, a Worker, a Client and three real WebSocket connections, told as a story.
 *
 * Every line tells what has just happened: it is printed when those have heard it who should have. On a terminal it stays
 * and says what the person types until the end of input; elsewhere it says what is piped in and ends by itself.
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
import * as Vhosts from "../server/engine/Vhosts.ts"
import * as CommandLine from "./CommandLine.ts"
import * as DemoPage from "./DemoPage.ts"
import * as Transcript from "./DemoTranscript.ts"

const path = "/demo"
const room = "presence-station"

/** How long piped input may be silent before the demo goes on without. */
const patience = "1 second"

/**
 * `kosmonaut demo [--once]`.
 *
 * @since 0.1.0
 */
export const demo = Command.make("demo", {
  once: Flag.Boolean("once").pipe(
    Flag.withDefault(false),
    Flag.withDescription("End after the story, also on a terminal; default no")
  )
}, ({ once }) => CommandLine.untilInterrupted(Effect.scoped(tell(once)))).pipe(
  Command.provide(() =>
    Layer.unwrap(Effect.gen(function*() {
      const broker = yield* Broker.Broker
      const vhosts = yield* Vhosts.Vhosts
      const vhost = yield* vhosts.get(path)
      return Kosmonaut.layer({ url: broker.urls(vhost).backend })
    })).pipe(
      Layer.provideMerge(
        Broker.layer({ websocketPort: 0, backendPort: 0, tcpPort: 0, browsersBroadcast: true, vhosts: [{ path }] })
      )
    )
  ),
  Command.withDescription(
    `Watch a broker, a worker and three browsers at work. On a terminal you can then type into the room; what is piped in is said line by line, until its end or ${patience} of silence`
  ),
  Command.withShortDescription("Watch a broker, a worker and three browsers at work"),
  Command.withExamples([
    { command: "kosmonaut demo" },
    { command: "echo hello | kosmonaut demo", description: "Said into the room" }
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
  yield* Effect.forkScoped(worker.listen({ onMessage: (event, data) => answer(client, event, data) }))
  yield* worker.changes.pipe(Stream.filter(({ _tag }) => _tag === "Connected"), Stream.take(1), Stream.runDrain)
  yield* transcript.line("worker", "is connected and waits for what browsers trigger")
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
    "Browsers join: each shows a token that the backend asked for, and those on the channel are told"
  )

  const crew: Array<DemoPage.DemoPage> = []
  for (const name of ["yuri", "valentina", "alexei"]) {
    const page = yield* DemoPage.connect(websocket, name)
    const token = yield* client.requestSingleAccessToken(name, "presence-.*")
    yield* page.send({ auth: { token: Redacted.value(token) } })
    yield* page.hear(":authenticated")
    yield* page.send({ subscribe: { channel: room } })
    yield* page.hear(":subscribed")
    yield* Effect.forEach([...crew, page], (other) => other.hear(":memberJoined"), { discard: true })
    yield* transcript.line(name, crew.length === 0 ? "joins and finds nobody" : `joins and finds ${names(crew)}`)
    if (crew.length > 0) yield* transcript.effect(`${names(crew)} hear${s(crew)} that ${name} has joined`)
    crew.push(page)
  }
  return crew
})

const talk = Effect.fnUntraced(function*(transcript: Transcript.Transcript, crew: ReadonlyArray<DemoPage.DemoPage>) {
  const client = yield* Client.Client
  const [yuri, valentina, alexei] = crew as [DemoPage.DemoPage, DemoPage.DemoPage, DemoPage.DemoPage]

  yield* transcript.chapter("A browser broadcasts: the broker delivers it to everybody on the channel")
  yield* valentina.send({ broadcast: { channel: room, event: "said", data: { text: "Good morning, station!" } } })
  const said = yield* hearAll(crew, "said")
  yield* transcript.line("valentina", `says: ${text(said.text)}`)
  yield* transcript.effect(`heard by ${names(crew)}`)

  yield* transcript.chapter("A browser triggers: one worker gets it, does what it has to, and answers")
  yield* alexei.send({ trigger: { event: "asked", data: { text: "How far is the Moon?" } } })
  yield* transcript.line("alexei", "asks: How far is the Moon?")
  const answered = yield* hearAll(crew, "answered")
  yield* transcript.line("worker", `answers into the room: ${text(answered.text)}`)
  yield* transcript.effect(`heard by ${names(crew)}`)

  yield* transcript.chapter("A backend broadcasts: any program that has the URL can")
  yield* client.broadcast(room, "announced", { text: "The supply ship docks in five minutes" })
  const announced = yield* hearAll(crew, "announced")
  yield* transcript.line("backend", `announces: ${text(announced.text)}`)
  yield* transcript.effect(`heard by ${names(crew)}`)

  yield* transcript.chapter("A browser leaves")
  const staying = [yuri, valentina]
  yield* alexei.send({ unsubscribe: { channel: room, data: { reason: "a spacewalk" } } })
  const left = yield* hearAll(staying, ":memberLeft")
  yield* transcript.line("alexei", `leaves for ${text(left.reason)}`)
  yield* transcript.effect(`${names(staying)} hear that ${text(left.uid)} has left`)
  return staying
})

const sayWhatIsTyped = Effect.fnUntraced(function*(
  transcript: Transcript.Transcript,
  staying: ReadonlyArray<DemoPage.DemoPage>,
  isTerminal: boolean
) {
  const yuri = staying[0]!
  const say = Effect.fnUntraced(function*(line: string) {
    yield* yuri.send({ broadcast: { channel: room, event: "said", data: { text: line }, trigger: "said" } })
    const said = yield* hearAll(staying, "said")
    yield* transcript.line("yuri", `says: ${text(said.text)}`)
    yield* transcript.effect(`heard by ${names(staying)}`)
    const answered = yield* hearAll(staying, "answered")
    yield* transcript.line("worker", `answers: ${text(answered.text)}`)
  })

  const chapter = isTerminal
    ? "Your turn: you are yuri. Type a line and press Enter; Ctrl-D ends"
    : "Your turn: each line of the input is said by yuri"
  if (isTerminal) yield* transcript.chapter(chapter)
  let first = !isTerminal
  // Unlike that of Stdio it is closed when nobody reads it any more, so that an open pipe does not keep us.
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
  yield* transcript.chapter("That was all of it. To go on")
  yield* transcript.next(`${command} serve`, "a broker to keep, which prints what the others need")
  yield* transcript.next(`${command} --help`, "what else there is")
  yield* transcript.next("README.md", "a first program")
})

// The same event for each of them; what it brought to the first.
const hearAll = Effect.fnUntraced(function*(pages: ReadonlyArray<DemoPage.DemoPage>, event: string) {
  const heard = yield* Effect.forEach(pages, (page) => page.hear(event))
  return heard[0]!
})

const names = (pages: ReadonlyArray<DemoPage.DemoPage>): string =>
  pages.map(({ name }) => name).join(", ").replace(/, (\w+)$/, " and $1")

const s = (pages: ReadonlyArray<DemoPage.DemoPage>): string => pages.length === 1 ? "s" : ""

const text = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value)
