import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import { Broker, Vhosts } from "../../../src/server/index.ts"
import * as Store from "../../../src/server/store/Store.ts"
import * as Browser from "../../harness/Browser.ts"
import { engineOf } from "../../harness/engine.ts"
import { eventually } from "../../harness/eventually.ts"
import { identity } from "../../harness/identity.ts"
import * as RawTcp from "../../harness/RawTcp.ts"
import * as RawZmq from "../../harness/RawZmq.ts"
import { TestBroker, token } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

type Frames = ReadonlyArray<string>

/** A broker that does not expire these workers, which send no heartbeats. */
const withPatience = withBroker({ heartbeat: { maxMissed: 1000 } })

const framesOf = (message: string): Frames => message.slice(0, -"\n\r\n\r\n".length).split("\n")

/** A Client over TCP that keeps its connection. Responses have the frame with which their request began. */
const connect = Effect.fnUntraced(function*(id = randomUUID()) {
  const { broker } = yield* TestBroker
  const connection = yield* RawTcp.connect(broker.tcpPort)
  yield* connection.send(RawTcp.message(identity("req", { id }), "K1"))
  yield* connection.next
  return {
    id,
    send: (...frames: Frames) => connection.send(RawTcp.message(...frames)),
    next: Effect.map(connection.next, framesOf),
    close: Effect.sync(() => connection.socket.destroy())
  }
})

/** A worker over TCP that acks, and responds unless told otherwise. `next` skips heartbeats. */
const work = Effect.fnUntraced(function*(prefetch = 100, options: object = { responses: true }) {
  const { broker } = yield* TestBroker
  const connection = yield* RawTcp.connect(broker.tcpPort)
  yield* connection.send(RawTcp.message(identity("dlr"), "", "RD", "ack", String(prefetch), JSON.stringify(options)))
  const next: Effect.Effect<Frames> = Effect.flatMap(
    Effect.map(Effect.orDie(connection.next), framesOf),
    (frames) => frames[0] === "HB" ? next : Effect.succeed(frames)
  )
  expect(framesOf(yield* connection.next)[0]).toBe("HB")
  return {
    send: (...frames: Frames) => connection.send(RawTcp.message(...frames)),
    next,
    close: Effect.sync(() => connection.socket.destroy())
  }
})

const counters = Effect.map(TestBroker, ({ vhost: { lobby } }) => [
  lobby.counters.queued,
  lobby.counters.unacknowledged
])

/** Waits until so many events are queued and in flight. */
const until = (queued: number, unacked: number) =>
  eventually(counters, (seen) => seen[0] === queued && seen[1] === unacked)

const errorOf = ([_, word, code, reason]: Frames) => [word, code, JSON.parse(reason ?? "{}").reason]

/** The options of a request that a busy machine does not keep from its response. */
const patient = `{"timeout":3600000}`

describe("a request of a Client", () => {
  it.live("gets its response, and blocks no request behind it", () =>
    Effect.gen(function*() {
      const worker = yield* work()
      const client = yield* connect()
      yield* client.send("1", "RQ", "chat/history", `{"of":"room"}`, patient)
      yield* client.send("2", "RQ", "chat/rename", `{}`, patient)
      yield* client.send("3", "OC", "fresh")
      expect(yield* client.next).toEqual(["3", "OK"])
      const [word, json, delivery, attempt, origin] = yield* worker.next
      expect([word, json, attempt]).toEqual(["TR", `{"chat/history":{"of":"room"}}`, "1"])
      const { request } = JSON.parse(origin!) as { readonly request: number }
      expect(request).toBeGreaterThan(3_000_000)
      expect(request).toBeLessThanOrEqual(3_600_000)
      const [, , other] = yield* worker.next
      yield* worker.send("RP", other!, "error", ` {"_tag":\t"NotAllowed"} `)
      yield* worker.send("RP", delivery!, "ok", `["a",1.0]`)
      expect(yield* client.next).toEqual(["2", "OK", `{"error":{"_tag":\t"NotAllowed"}}`])
      expect(yield* client.next).toEqual(["1", "OK", `{"data":["a",1.0]}`])
      yield* until(0, 0)
    }).pipe(withPatience))

  it.live("works over ZeroMQ and on a connection for one request", () =>
    Effect.gen(function*() {
      const { broker } = yield* TestBroker
      const worker = yield* work()
      const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
      yield* dealer.send("1", "", "RQ", "chat/history", "{}", patient)
      yield* dealer.send("2", "", "OC", "fresh")
      expect(yield* dealer.next).toEqual(["2", "", "OK"])
      yield* worker.send("RP", (yield* worker.next)[2]!, "ok", "1")
      expect(yield* dealer.next).toEqual(["1", "", "OK", `{"data":1}`])
      const single = yield* RawTcp.connect(broker.tcpPort)
      yield* single.send(RawTcp.message(identity("req"), "", "RQ", "chat/history", "{}", patient))
      yield* worker.send("RP", (yield* worker.next)[2]!, "ok", "2")
      expect(yield* single.rest).toBe(RawTcp.message("OK", `{"data":2}`))
    }).pipe(withPatience))

  it.live("fails with a status of its own: no worker, a failed handler, a deadline that has passed, a reserved name", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.send("1", "RQ", "chat/rename", "{}", patient)
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "457", undefined])
      yield* client.send("2", "RQ", ":lifecycle/x", "{}", "{}")
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "400", expect.stringContaining(":")])
      const worker = yield* work()
      yield* client.send("3", "RQ", "chat/rename", "{}", patient)
      yield* worker.send("NK", (yield* worker.next)[2]!, "Error: secret")
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "458", expect.not.stringContaining("secret")])
      // What is not JSON would break the message that it is put into.
      yield* client.send("4", "RQ", "chat/rename", "{}", patient)
      yield* worker.send("RP", (yield* worker.next)[2]!, "ok", `1},"more":{`)
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "458", expect.any(String)])
      yield* client.send("5", "RQ", "chat/rename", "{}", `{"timeout":1}`)
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "459", undefined])
    }).pipe(withPatience))

  it.live("is not for workers that did not say that they respond, or do not ack", () =>
    Effect.gen(function*() {
      yield* work(100, {})
      const { broker } = yield* TestBroker
      const silent = yield* RawTcp.connect(broker.tcpPort)
      yield* silent.send(RawTcp.message(identity("dlr"), "", "RD", `{"responses":true}`))
      yield* silent.next
      const client = yield* connect()
      yield* client.send("1", "RQ", "chat/rename", "{}", patient)
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "457", undefined])
    }).pipe(withPatience))

  it.live("is cancelled if its Client goes before a worker has begun, and executed when it is retried", () =>
    Effect.gen(function*() {
      const worker = yield* work(1)
      const client = yield* connect()
      yield* client.send("1", "RQ", "chat/first", "{}", patient)
      yield* client.send("2", "RQ", "chat/second", "{}", patient)
      const [, , first] = yield* worker.next
      yield* until(1, 1)
      yield* client.close
      yield* until(0, 1)
      const again = yield* connect()
      yield* again.send("1", "AG", client.id, "2", "RQ", "chat/second", "{}", patient)
      yield* again.send("2", "AG", client.id, "1", "RQ", "chat/first", "{}", patient)
      yield* again.send("3", "OC", "fresh")
      expect(yield* again.next).toEqual(["3", "OK"])
      yield* until(1, 1)
      // The worker that has begun handles it once, and the retry gets that response.
      yield* worker.send("RP", first!, "ok", "1")
      expect(yield* again.next).toEqual(["2", "OK", `{"data":1}`])
      const [, json, second] = yield* worker.next
      expect(json).toBe(`{"chat/second":{}}`)
      yield* worker.send("RP", second!, "ok", "2")
      expect(yield* again.next).toEqual(["1", "OK", `{"data":2}`])
      yield* again.send("4", "AG", client.id, "2", "RQ", "chat/second", "{}", patient)
      expect(yield* again.next).toEqual(["4", "OK", `{"data":2}`])
    }).pipe(withPatience))

  it.live("is one of at most 4096 on its connection", () =>
    Effect.gen(function*() {
      yield* work(0)
      const client = yield* connect()
      for (let message = 1; message <= 4097; message++) {
        yield* client.send(message.toString(36), "RQ", "chat/rename", "{}", patient)
      }
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "429", expect.stringContaining("4096")])
      yield* until(4096, 0)
      yield* client.close
      yield* until(0, 0)
    }).pipe(withPatience))

  it.live("counts towards that limit as a retry, too, until its connection has ended", () =>
    Effect.gen(function*() {
      const worker = yield* work(1)
      const first = yield* connect()
      yield* first.send("1", "RQ", "chat/rename", "{}", patient)
      const [, , delivery] = yield* worker.next
      const client = yield* connect()
      for (let message = 1; message <= 4097; message++) {
        yield* client.send(message.toString(36), "AG", first.id, "1", "RQ", "chat/rename", "{}", patient)
      }
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "429", expect.stringContaining("4096")])
      const other = yield* connect()
      yield* other.send("1", "AG", first.id, "1", "RQ", "chat/rename", "{}", patient)
      yield* client.close
      yield* worker.send("RP", delivery!, "ok", "1")
      expect(yield* other.next).toEqual(["1", "OK", `{"data":1}`])
      yield* until(0, 0)
    }).pipe(withPatience))
})

describe("a trigger of a Client", () => {
  it.live("is an event without a browser, with its span", () =>
    Effect.gen(function*() {
      const worker = yield* work()
      const client = yield* connect()
      yield* client.send("1", "TG", "chat/say", `{"text":"hi"}`, "{}")
      expect(yield* client.next).toEqual(["1", "OK"])
      const [word, json, delivery, attempt, ...origin] = yield* worker.next
      expect([word, json, attempt, origin]).toEqual(["TR", `{"chat/say":{"text":"hi"}}`, "1", []])
      yield* worker.send("AK", delivery!)
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      yield* client.send("2", "TG", "chat/say", "not json", "{}", JSON.stringify({ traceparent }))
      expect((yield* worker.next).toSpliced(2, 1)).toEqual([
        "TR",
        `{"chat/say":{}}`,
        "1",
        JSON.stringify({ traceparent })
      ])
      yield* client.next
      yield* client.send("3", "TG", ":lifecycle/channelOccupied", "{}", "{}")
      expect(errorOf(yield* client.next)).toMatchObject(["ER", "400", expect.stringContaining(":")])
    }).pipe(withPatience))

  it.live("may be delayed, and is enqueued once for its key", () =>
    Effect.gen(function*() {
      const worker = yield* work()
      const client = yield* connect()
      const started = performance.now()
      yield* client.send("1", "TG", "chat/later", "{}", `{"delay":60}`)
      for (const message of ["2", "3"]) yield* client.send(message, "TG", "chat/once", "{}", `{"dedupeKey":"k"}`)
      for (const message of ["1", "2", "3"]) expect(yield* client.next).toEqual([message, "OK"])
      // On a busy machine the delay may be over before the other one is there.
      const arrived = new Map<string, number>()
      for (let n = 0; n < 2; n++) arrived.set((yield* worker.next)[1]!, performance.now() - started)
      expect([...arrived.keys()].sort()).toEqual([`{"chat/later":{}}`, `{"chat/once":{}}`])
      expect(arrived.get(`{"chat/later":{}}`)).toBeGreaterThanOrEqual(60)
      expect(yield* counters).toEqual([0, 2])
    }).pipe(withPatience))

  it.live("is persisted before its response, with its delay and its key", () =>
    Effect.gen(function*() {
      const run = <A, E>(use: Effect.Effect<A, E, TestBroker | Scope.Scope>) =>
        Effect.gen(function*() {
          const broker = yield* Broker.Broker
          const vhost = engineOf(yield* Effect.flatMap(Vhosts.Vhosts, ({ get }) => get("/test")))
          return yield* Effect.provideService(use, TestBroker, { broker, vhost, urls: broker.urls(vhost) })
        }).pipe(
          Effect.scoped,
          Effect.provide(Broker.layer({
            websocketPort: 0,
            backendPort: 0,
            tcpPort: 0,
            vhosts: [{ path: "/test", token }],
            heartbeat: { maxMissed: 1000 }
          }))
        )
      const twice = ["TG", "chat/later", "{}", `{"delay":3600000,"dedupeKey":"k"}`]
      yield* run(Effect.gen(function*() {
        const client = yield* connect()
        yield* client.send("1", ...twice)
        expect(yield* client.next).toEqual(["1", "OK"])
      }))
      yield* run(Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        yield* work()
        const client = yield* connect()
        yield* client.send("1", ...twice)
        expect(yield* client.next).toEqual(["1", "OK"])
        expect(yield* counters).toEqual([1, 0])
        expect(vhost.lobby.nextDue()! - performance.now()).toBeGreaterThan(3_000_000)
      }))
    }).pipe(Effect.provide(Layer.fresh(Store.layerMemory))))
})

describe("a request of a browser", () => {
  it.live("travels over a WebSocket", () =>
    Effect.gen(function*() {
      const { urls, vhost } = yield* TestBroker
      const worker = yield* work()
      const browser = yield* Browser.connect(`${urls.websocket}?v=1`)
      const single = yield* vhost.accessTokens.issue("joe", ".*")
      yield* browser.send({ auth: { token: Redacted.value(single), client: "c", id: 1 } })
      yield* browser.nextOf(":authenticated")
      yield* browser.send({ request: { event: "chat/history", data: { of: "room" }, id: 2, timeout: 5000 } })
      yield* browser.send({ ping: { id: 3 } })
      expect(yield* browser.next).toEqual({ ":pong": { id: 3 } })
      const [, json, delivery, , origin] = yield* worker.next
      expect([json, JSON.parse(origin!)]).toMatchObject([
        `{"chat/history":{"of":"room"}}`,
        { sid: browser.sid, uid: "joe" }
      ])
      yield* worker.send("RP", delivery!, "ok", "[]")
      expect(yield* browser.next).toEqual({ ":response": { id: 2, data: [] } })
    }).pipe(withPatience))
})
