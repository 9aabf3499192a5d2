/**
 * Messages that travel together over ZeroMQ: how they are written, that nothing else is read as one, and who sends them to
 * whom.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Arbitrary, Deferred, Effect, Fiber, Queue, Result } from "effect"
import * as Zmq from "zeromq"
import { Endpoint } from "../../src/index.ts"
import * as Batch from "../../src/transport/internal/batch.ts"
import * as Zmtp from "../../src/transport/internal/zmtp.ts"
import type { Message } from "../../src/transport/Transport.ts"
import * as ZmqTransport from "../../src/transport/ZmqTransport.ts"
import * as ZmqTransportServer from "../../src/transport/ZmqTransportServer.ts"
import * as Exchanges from "../harness/exchanges.ts"
import { identity } from "../harness/identity.ts"
import * as RawZmq from "../harness/RawZmq.ts"
import * as RawZmtp from "../harness/RawZmtp.ts"
import { token } from "../harness/TestBroker.ts"
import { anyText, int } from "../protocol/arbitraries.ts"

const item = Arbitrary.map(
  Arbitrary.all([anyText, Arbitrary.array(anyText, { maxLength: 6 })]),
  ([envelope, frames]): Message => ({ envelope, frames })
)
const items = Arbitrary.array(item, { minLength: 1, maxLength: 40 })

const bytes = (text: string) => new TextEncoder().encode(text)

describe("a batch", () => {
  it.prop("is read as it was written, also as bytes", [items], ([items]) => {
    const wellFormed = items.map(({ envelope, frames }) => ({
      envelope: envelope.toWellFormed(),
      frames: frames.map((frame) => frame.toWellFormed())
    }))
    const written = bytes(Batch.encode(wellFormed))
    assert.isTrue(Batch.isBatch(written))
    assert.deepStrictEqual(Batch.decode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(written)), wellFormed)
  })

  it.prop("that is cut, or has something changed in its lengths, is none or another, and harms nobody", [
    items,
    int(0, 1_000_000),
    anyText
  ], ([items, where, other]) => {
    const written = Batch.encode(items)
    const at = where % written.length
    assert.isUndefined(Batch.decode(written.slice(0, at)))
    const read = Batch.decode(`K1 ${written.slice(3, at)}${other}${written.slice(at)}`)
    if (read !== undefined) assert.isAtLeast(read.length, 1)
  })

  it.each([
    "",
    "K1 ",
    "K1 \n",
    "K1 ;\n",
    "K1 1;\n",
    "K1 1;\nab",
    "K1 1\na",
    "K1 1,\na",
    "K1 ,1;\na",
    "K1 -1;\na",
    "K1 1.0;\na",
    "K1 99999999999999999999999999;\na",
    "K1 1;1;\na"
  ])("is not %j", (text) => {
    assert.isUndefined(Batch.decode(text))
  })

  it("has at most 1024 messages of 64 frames", () => {
    const many = (length: number) => Array.from({ length }, () => ({ envelope: "", frames: ["x"] }))
    assert.strictEqual(Batch.decode(Batch.encode(many(1024)))?.length, 1024)
    assert.isUndefined(Batch.decode(Batch.encode(many(1025))))
    const long = (length: number) => [{ envelope: "", frames: Array.from({ length }, () => "x") }]
    assert.strictEqual(Batch.decode(Batch.encode(long(64)))?.length, 1)
    assert.isUndefined(Batch.decode(Batch.encode(long(65))))
  })

  it.prop("has no more bytes than a message may have, as long as none of its messages has", [
    items,
    int(200, 2000)
  ], ([items, most]) => {
    const batches = Batch.split(items, most)
    assert.deepStrictEqual(batches.flat(), items)
    for (const batch of batches) {
      if (batch.length > 1) assert.isAtMost(bytes(Batch.encode(batch)).length, most)
    }
  })
})

/** A ROUTER socket of somebody else, which never heard of batches. */
const foreign = Effect.gen(function*() {
  const heard = yield* Queue.unbounded<ReadonlyArray<string>>()
  const router = yield* Effect.acquireRelease(
    Effect.promise(() => {
      const router = new Zmq.Router({ linger: 0 })
      return router.bind("tcp://127.0.0.1:*").then(() => router)
    }),
    (router) => Effect.sync(() => router.close())
  )
  const receive = (): Promise<void> =>
    router.receive().then((frames) => {
      Queue.offerUnsafe(heard, frames.slice(1).map(String))
      // It echoes the envelope, whatever that is.
      const delimiter = frames.findIndex((frame) => frame.length === 0)
      return router.send([...frames.slice(0, delimiter), "", "OK"]).then(receive)
    }, () => undefined)
  void receive()
  return { heard, endpoint: endpointOf(Number(router.lastEndpoint!.split(":").at(-1))) }
})

/** A message as ZeroMQ writes it. */
const written = (frames: ReadonlyArray<string>): Buffer => {
  const buffer = Buffer.alloc(Zmtp.sizeOf(frames))
  Zmtp.write(buffer, 0, frames)
  return buffer
}

const endpointOf = (port: number) => Result.getOrThrow(Endpoint.fromUrl(`wr://${token}@127.0.0.1:${port}/test`))

/** A server of ours that answers OK and what it was asked. */
const ours = Effect.gen(function*() {
  const server = yield* ZmqTransportServer.listen({ host: "127.0.0.1", port: 0, maxMessageSize: 10_000 })
  yield* Effect.forkScoped(server.run({
    onMessage: (peer, frames) => Effect.sync(() => peer.sendUnsafe(["OK", ...frames ?? ["unreadable"]])),
    onClose: () => Effect.void
  }))
  return server.port
})

describe("who sends batches to whom", () => {
  it.live("a Client sends plain messages to a broker that answers with such", () =>
    Effect.gen(function*() {
      const { endpoint, heard } = yield* foreign
      const { request } = yield* Exchanges.requester(ZmqTransport.make(), endpoint)
      for (const channel of ["a", "b"]) {
        assert.deepStrictEqual(yield* request(["OC", channel]), ["OK"])
        const [id, ...rest] = yield* Queue.take(heard)
        assert.match(id!, /^\w+$/)
        assert.deepStrictEqual(rest, ["K1", "", "OC", channel])
      }
    }))

  it.live("a Client and a broker of ours send batches once each has said that it reads them", () =>
    Effect.gen(function*() {
      const port = yield* ours
      const { request } = yield* Exchanges.requester(ZmqTransport.make({ maxMessageSize: 10_000 }), endpointOf(port))
      const asked = Array.from({ length: 500 }, (_, index) => ["BC", "room", "event", `${index} ü`.repeat(index % 50)])
      for (let round = 0; round < 3; round++) {
        const answers = yield* Effect.forEach(asked, (frames) => request(frames), { concurrency: "unbounded" })
        assert.deepStrictEqual(answers, asked.map((frames) => ["OK", ...frames]))
      }
    }))

  it.live("a peer that sends plain messages gets such, and one that marks them gets batches", () =>
    Effect.gen(function*() {
      const port = yield* ours
      const plain = yield* RawZmq.dealer(port, identity("req"))
      yield* plain.send("id", "", "OC", "room")
      expect(yield* plain.next).toEqual(["id", "", "OK", "OC", "room"])
      const marked = yield* RawZmq.dealer(port, identity("req"))
      yield* marked.send("id", "K1", "", "OC", "room")
      expect(yield* marked.next).toEqual(["K1 2,2,2,4;\nidOKOCroom"])
      yield* marked.send("K1 1,2,1;1,2,1;\n1OCa2OCb")
      expect(yield* marked.next).toEqual(["K1 1,2,2,1;1,2,2,1;\n1OKOCa2OKOCb"])
    }))

  // If a turn of the event loop ends within a batch, which happens on a machine that is busy, it is answered in two parts.
  it.live("a batch is answered with one, however many messages it has, and so is each of those that arrive together", () =>
    Effect.gen(function*() {
      const port = yield* ours
      const peer = yield* RawZmtp.connect(port, identity("req"))
      yield* peer.message("id", "K1", "", "OC", "room")
      yield* Effect.repeat(peer.nextPart, { until: ([frame]) => frame === "K1 2,2,2,4;\nidOKOCroom" })
      const batchOf = (letter: string, count: number) =>
        Array.from({ length: count }, (_, index) => ({ envelope: `${letter}${index}`, frames: ["OC"] }))
      /** Sends these batches as one piece, and gives the messages of each that comes back. */
      const answers = Effect.fnUntraced(function*(batches: ReadonlyArray<ReadonlyArray<Message>>) {
        yield* peer.send(Buffer.concat(batches.map((batch) => written([Batch.encode(batch)]))))
        const answered: Array<ReadonlyArray<Message>> = []
        while (answered.flat().length < batches.flat().length) {
          const [frame] = yield* peer.nextPart
          answered.push(Batch.decode(frame!)!)
        }
        return answered
      })
      for (const counts of [[31], [33], [100], [100, 100]]) {
        const asked = counts.map((count, index) => batchOf("ab"[index]!, count))
        const answered = yield* Effect.repeat(answers(asked), {
          until: ({ length }) => length === asked.length,
          times: 50
        })
        const ok = asked.map((batch) => batch.map((item) => ({ ...item, frames: ["OK", "OC"] })))
        expect(answered).toEqual(ok)
      }
    }))

  it.live("a batch that is none is answered as what cannot be read", () =>
    Effect.gen(function*() {
      const port = yield* ours
      const peer = yield* RawZmq.dealer(port, identity("req"))
      for (const batch of ["K1 9;\n1OCa", "K1 x", `K1 ${"1;".repeat(2000)}\n${"x".repeat(2000)}`]) {
        yield* peer.send(batch)
        expect(yield* peer.next).toEqual(["K1 0,2,10;\nOKunreadable"])
      }
    }))

  it.live("a Worker hears plain messages and batches", () =>
    Effect.gen(function*() {
      const ready = yield* Deferred.make<void>()
      const server = yield* ZmqTransportServer.listen({ host: "127.0.0.1", port: 0, maxMessageSize: 10_000 })
      yield* Effect.forkScoped(server.run({
        onMessage: (peer) =>
          Effect.andThen(
            Effect.sync(() => {
              for (let number = 0; number < 200; number++) peer.sendUnsafe(["TR", `${number}`])
            }),
            Deferred.succeed(ready, undefined)
          ),
        onClose: () => Effect.void
      }))
      const session = yield* Exchanges.session(ZmqTransport.make(), endpointOf(server.port))
      yield* session.send(["RD"])
      yield* Deferred.await(ready)
      const heard: Array<string> = []
      const hear = Effect.gen(function*() {
        while (heard.length < 200) for (const frames of yield* session.pull) heard.push(frames[1]!)
      })
      yield* Fiber.join(yield* Effect.forkChild(hear))
      assert.deepStrictEqual(heard, Array.from({ length: 200 }, (_, number) => `${number}`))
    }))
})
