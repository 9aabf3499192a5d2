import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import {
  connectBrowser,
  enqueue,
  event,
  type Frames,
  lobby,
  stillServes,
  worker,
  zmq
} from "../../../harness/backends.ts"
import { identity } from "../../../harness/identity.ts"
import * as RawTcp from "../../../harness/RawTcp.ts"
import * as RawZmq from "../../../harness/RawZmq.ts"
import { TestBroker } from "../../../harness/TestBroker.ts"
import { withBroker } from "../../../harness/withBroker.ts"

describe("BackendEndpoint over ZeroMQ", () => {
  const req = (who = identity("req")) => TestBroker.use(({ broker }) => RawZmq.req(broker.backendPort, who))

  it.effect("serves a plain REQ socket, one request after another", () =>
    Effect.gen(function*() {
      const browser = yield* connectBrowser
      const request = yield* req()
      expect(yield* request("OC", "fresh")).toEqual(["OK"])
      yield* browser.send({ subscribe: { channel: "fresh" } })
      yield* browser.nextOf(":subscribed")
      const data = JSON.stringify({ text: "line\nline\r\n\r\n zażółć" })
      expect(yield* request("BC", "fresh", "hello", data)).toEqual(["OK"])
      expect(yield* browser.next).toEqual({ hello: { text: "line\nline\r\n\r\n zażółć", channel: "fresh" } })
      const [word, accessToken] = yield* request("AT", "joe", ".*")
      expect([word, accessToken!.length]).toEqual(["AT", 128])
      expect(yield* request("AT", "joe", "(")).toEqual(["ER", "597"])
      expect(yield* request("OC", "a\nb")).toEqual(["ER", "451"])
      expect(yield* request("XX")).toEqual(["ER", "400"])
      expect(yield* request("CC", "fresh")).toEqual(["OK"])
      expect(yield* request("CC", "fresh")).toEqual(["ER", "454"])
      expect(yield* request("BC", "fresh", "hello", "{}")).toEqual(["ER", "454"])
    }).pipe(withBroker()))

  it.effect("responds in the envelope of each request", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      yield* dealer.send("one", "", "OC", "fresh")
      yield* dealer.send("two", "", "CC", "nope")
      yield* dealer.send("", "XX")
      yield* dealer.send("a", "b", "c", "d", "e", "f", "", "OC", "%")
      const answers = yield* Effect.replicateEffect(dealer.next, 4)
      expect(new Set(answers.map((frames) => frames.join("|")))).toEqual(
        new Set(["one||OK", "two||ER|454", "|ER|400", "a|b|c|d|e|f||ER|451"])
      )
    }).pipe(withBroker()))

  it.effect("responds to a thousand requests in flight on one socket, each in its envelope", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      for (let n = 0; n < 1000; n++) yield* dealer.send(`id${n}`, "", ...(n % 2 ? ["OC", "room"] : ["CC", "nope"]))
      const answers = yield* Effect.replicateEffect(dealer.next, 1000)
      const got = new Map(answers.map(([id, ...rest]) => [id, rest.join("|")]))
      expect(got.size).toBe(1000)
      for (let n = 0; n < 1000; n++) expect(got.get(`id${n}`)).toBe(n % 2 ? "|OK" : "|ER|454")
    }).pipe(withBroker()))

  it.effect("echoes any bytes of an envelope", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const dealer = yield* RawZmq.bytesDealer(broker.backendPort, identity("req"))
      const id = Buffer.from([0, 255, 254, 0, 195])
      yield* dealer.send(id, "", "OC", "room")
      expect((yield* dealer.next).map((frame) => frame.toString("hex"))).toEqual(
        [id, Buffer.from(""), Buffer.from("OK")].map((frame) => frame.toString("hex"))
      )
    }).pipe(withBroker()))

  it.effect.each<[string, Frames]>([
    ["without a delimiter", ["OC", "room"]],
    ["of one frame", ["x"]],
    ["of a delimiter alone", [""]],
    ["of delimiters", ["", "", ""]],
    ["with an endless envelope", [...Array.from({ length: 50 }, (_, n) => `${n}`), "", "OC", "room"]]
  ])("responds with ER 400 to a message %s", ([_, frames]) =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      yield* dealer.send(...frames)
      const answer = yield* dealer.next
      expect(answer.slice(-3)).toEqual(["", "ER", "400"])
      yield* stillServes
    }).pipe(withBroker()))

  it.effect("echoes envelopes up to a limit, and responds with ER 400 without them beyond", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      const id = "x".repeat(300)
      yield* dealer.send(id, "", "OC", "room")
      expect(yield* dealer.next).toEqual([id, "", "OK"])
      yield* dealer.send("x".repeat(10_000), "", "OC", "room")
      expect(yield* dealer.next).toEqual(["", "ER", "400"])
    }).pipe(withBroker()))

  it.effect("reads messages of 64 frames, and responds with ER 400 to longer ones", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      const more = (count: number) => Array.from({ length: count }, () => "x")
      yield* dealer.send("id", "", "OC", "room", ...more(60))
      expect(yield* dealer.next).toEqual(["id", "", "OK"])
      for (const count of [61, 10_000]) {
        yield* dealer.send("id", "", "OC", "room", ...more(count))
        expect((yield* dealer.next).slice(-3)).toEqual(["", "ER", "400"])
      }
      yield* stillServes
    }).pipe(withBroker()))

  it.effect("responds with ER 402 to sockets without an identity, to each for itself", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const dealers = yield* Effect.replicateEffect(RawZmq.dealer(broker.backendPort, undefined), 3)
      for (const dealer of dealers) yield* dealer.send("id", "", "OC", "room")
      for (const dealer of dealers) expect(yield* dealer.next).toEqual(["id", "", "ER", "402"])
    }).pipe(withBroker()))

  it.effect("counts all frames of a message towards the message limit", () =>
    Effect.gen(function*() {
      const request = yield* req()
      expect(yield* request("BC", "room", "e", "x".repeat(1500))).toEqual(["OK"])
      expect(yield* request("BC", "room", "e", "x".repeat(900), "x".repeat(900), "x".repeat(900))).toEqual([
        "ER",
        "400"
      ])
      yield* stillServes
    }).pipe(withBroker({ maxMessageSize: 2000 })))

  it.effect("ends a connection that sends a frame beyond the limit, and serves the others", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const other = yield* worker(zmq)
      const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      yield* dealer.send("one", "", "OC", "room")
      yield* dealer.next
      yield* dealer.send("two", "", "BC", "room", "e", "x".repeat(2001))
      yield* dealer.disconnected
      yield* enqueue(event(1))
      expect(yield* other.next).toEqual(["TR", event(1)])
      yield* stillServes
    }).pipe(withBroker({ maxMessageSize: 2000 })))

  it.effect("survives any bytes that are not ZeroMQ", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const other = yield* worker(zmq)
      const greeting = Buffer.concat([Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0]), Buffer.from("NULL")])
      for (
        const bytes of [
          randomBytes(500),
          "GET / HTTP/1.1\r\n\r\n",
          RawTcp.message(identity("req"), "", "OC", "room"),
          greeting,
          Buffer.concat([greeting, Buffer.alloc(48), randomBytes(200)]),
          Buffer.alloc(10_000, 0xff)
        ]
      ) {
        const junk = yield* RawTcp.connect(broker.backendPort)
        yield* junk.send(bytes)
        junk.socket.end()
        yield* junk.ended
      }
      yield* enqueue(event(1))
      expect(yield* other.next).toEqual(["TR", event(1)])
      yield* stillServes
    }).pipe(withBroker()))

  it.effect("sends QT to a worker that sends QT", () =>
    Effect.gen(function*() {
      const self = yield* worker(zmq)
      yield* enqueue(event(1))
      yield* self.send("QT")
      expect(yield* self.next).toEqual(["TR", event(1)])
      expect(yield* self.next).toEqual(["QT"])
      expect((yield* lobby).workers).toEqual([])
    }).pipe(withBroker()))

  it.effect("keeps a worker that sends RD again on its socket", () =>
    Effect.gen(function*() {
      const self = yield* worker(zmq)
      yield* self.send("RD")
      expect(yield* self.next).toEqual(["HB"])
      yield* enqueue(event(1))
      expect(yield* self.next).toEqual(["TR", event(1)])
      expect((yield* lobby).workers.length).toBe(1)
    }).pipe(withBroker()))
})
