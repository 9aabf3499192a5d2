import { describe, expect, it, layer } from "@effect/vitest"
import { type Cause, Deferred, Effect, Layer, Logger, Metric, Option, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { randomBytes, randomUUID } from "node:crypto"
import { readFileSync } from "node:fs"
import { maxAcknowledged } from "../../../src/protocol/Command.ts"
import * as BackendEndpoint from "../../../src/server/endpoint/BackendEndpoint.ts"
import * as Engine from "../../../src/server/engine/Vhosts.ts"
import { BrokerConfig, Vhosts } from "../../../src/server/index.ts"
import type { Handlers, Peer } from "../../../src/transport/TransportServer.ts"
import * as BrokerSide from "../../harness/brokerSide.ts"
import * as Browser from "../../harness/Browser.ts"
import { engineOf, settings } from "../../harness/engine.ts"
import { eventually, turn } from "../../harness/eventually.ts"
import { identity } from "../../harness/identity.ts"
import * as RawTcp from "../../harness/RawTcp.ts"
import * as RawZmq from "../../harness/RawZmq.ts"
import { layer as testBroker, TestBroker, token } from "../../harness/TestBroker.ts"
import { withBroker } from "../../harness/withBroker.ts"

// --- Backends with nothing of ours in them, one kind for each transport --------------------------------------------------

type Frames = ReadonlyArray<string>

interface Backend {
  /** Says a command, with the identity where that is needed. */
  readonly say: (...frames: Frames) => Effect.Effect<void>
  /** What the broker says next: the command and its arguments. */
  readonly next: Effect.Effect<Frames, Cause.Done>
}

/** Reads messages of classic TCP. An answer without arguments carries one empty frame. */
const framesOf = (message: string): Frames => {
  const frames = message.slice(0, -"\n\r\n\r\n".length).split("\n")
  return frames.length === 2 && frames[1] === "" ? frames.slice(0, 1) : frames
}

const tcp = Effect.fnUntraced(function*(who: string) {
  const { broker } = yield* TestBroker
  const connection = yield* RawTcp.connect(broker.tcpPort)
  let envelope: Frames = [who, ""]
  return {
    connection,
    say: (...frames: Frames) =>
      Effect.suspend(() => {
        const message = RawTcp.message(...envelope, ...frames)
        envelope = []
        return connection.send(message)
      }),
    next: Effect.map(connection.next, framesOf)
  }
})

const zmq = Effect.fnUntraced(function*(who: string) {
  const { broker } = yield* TestBroker
  const dealer = yield* RawZmq.dealer(broker.backendPort, who)
  const backend: Backend = {
    say: (...frames) => dealer.send("", ...frames),
    next: Effect.map(dealer.next, ([delimiter, ...frames]) => {
      expect(delimiter).toBe("")
      return frames
    })
  }
  return backend
})

const transports: ReadonlyArray<{
  readonly name: string
  readonly connect: (who: string) => Effect.Effect<Backend, never, TestBroker | Scope.Scope>
}> = [{ name: "ZeroMQ", connect: zmq }, { name: "TCP", connect: tcp }]

/** One request and its answer, on a connection of its own. */
const askWith = (connect: typeof transports[number]["connect"]) => (...frames: Frames) =>
  Effect.scoped(Effect.gen(function*() {
    const backend = yield* connect(identity("req"))
    yield* backend.say(...frames)
    return yield* backend.next
  }))

const lobby = Effect.flatMap(TestBroker, ({ vhost }) => vhost.lobby.info)

const trigger = (json: string) => Effect.flatMap(TestBroker, ({ vhost }) => vhost.lobby.enqueue(json))

const event = (n: number) => `{"e":{"n":${n}}}`

const browser = Effect.flatMap(TestBroker, ({ urls }) => Browser.connect(urls.websocket))

/** That the broker still serves both transports. */
const stillServes = Effect.forEach(transports, ({ connect }) =>
  Effect.gen(function*() {
    expect(yield* askWith(connect)("OC", "room")).toEqual(["OK"])
  }))

/** A worker that the broker has greeted. */
const worker = (connect: typeof transports[number]["connect"], who = identity("dlr")) =>
  Effect.gen(function*() {
    const backend = yield* connect(who)
    yield* backend.say("RD")
    expect(yield* backend.next).toEqual(["HB"])
    // It is given events from now on.
    yield* backend.say("HB")
    return backend
  })

/** Waits until so many events were returned, and then for the backoff of one that failed. */
const backoff = (redelivered: number) =>
  Effect.gen(function*() {
    const { vhost } = yield* TestBroker
    yield* eventually(Effect.sync(() => vhost.lobby.counters), (counters) => counters.redelivered === redelivered)
    yield* TestClock.adjust("200 millis")
  })

/** Waits until all is read that a worker has sent. */
const answered = (worker: Effect.Success<ReturnType<typeof zmq>> | Effect.Success<ReturnType<typeof tcp>>) =>
  Effect.gen(function*() {
    yield* worker.say("HB")
    expect(yield* worker.next).toEqual(["HB"])
  })

/** One that acknowledges, that wants so many events at a time. */
const acknowledging = (connect: typeof transports[number]["connect"], prefetch: number, who = identity("dlr")) =>
  Effect.gen(function*() {
    const backend = yield* connect(who)
    yield* backend.say("RD", "ack", String(prefetch), `{"lifecycle":false,"maxAttempts":2}`)
    expect(yield* backend.next).toEqual(["HB"])
    return backend
  })

/** That it is given this, and nothing more is said; the event's name. */
const delivery = Effect.fnUntraced(function*(self: Backend, json: string, attempt: number) {
  const frames = yield* self.next
  expect(frames).toEqual(["TR", json, expect.stringMatching(/^[0-9a-f]{12}-[0-9a-z]+$/), String(attempt)])
  return frames[2]!
})

/** The numbers of the events that a worker is given from now on. */
const numbersGiven = Effect.fnUntraced(function*(self: Backend) {
  const given: Array<number> = []
  yield* Effect.map(self.next, ([_, json]) => given.push((JSON.parse(json!) as { e: { n: number } }).e.n)).pipe(
    Effect.forever,
    Effect.forkScoped
  )
  return given
})

describe("BackendEndpoint", () => {
  for (const { connect, name } of transports) {
    const ask = askWith(connect)

    layer(testBroker({ maxChannels: 50, tokens: { capacity: 50 } }), { excludeTestServices: true })(
      `a Client over ${name}`,
      (it) => {
        it.effect("opens and closes channels", () =>
          Effect.gen(function*() {
            const { vhost } = yield* TestBroker
            expect(yield* ask("OC", "fresh")).toEqual(["OK"])
            expect(yield* ask("OC", "fresh")).toEqual(["OK"])
            expect((yield* vhost.channels.list).map(({ name }) => name)).toContain("fresh")
            expect(yield* ask("CC", "fresh")).toEqual(["OK"])
            expect(yield* ask("CC", "fresh")).toEqual(["ER", "454"])
          }))

        it.effect("tells browsers that their channel is closed", () =>
          Effect.gen(function*() {
            const page = yield* browser
            yield* ask("OC", "short")
            yield* page.send({ subscribe: { channel: "short" } })
            yield* page.nextOf(":subscribed")
            yield* ask("CC", "short")
            expect(yield* page.next).toEqual({ ":unsubscribed": { channel: "short" } })
          }))

        it.effect.each<[string, string, object]>([
          ["an object", `{"what":"zażółć 🚀","n":[1,{}]}`, { what: "zażółć 🚀", n: [1, {}] }],
          ["an object with a claim", `{"channel":"x","sid":"y"}`, { sid: "y" }],
          ["an empty text", "", {}],
          ["a list", "[1]", {}],
          ["a text", `"text"`, {}],
          ["null", "null", {}],
          ["no JSON", "{what", {}],
          ["JSON that is too deep", `${"[".repeat(5000)}${"]".repeat(5000)}`, {}]
        ])("broadcasts data that is %s", ([_, data, told]) =>
          Effect.gen(function*() {
            const page = yield* browser
            yield* page.send({ subscribe: { channel: "room" } })
            yield* page.nextOf(":subscribed")
            expect(yield* ask("BC", "room", "hello", data)).toEqual(["OK"])
            expect(yield* page.next).toEqual({ hello: { ...told, channel: "room" } })
          }))

        it.effect("gets tokens that browsers can use, once", () =>
          Effect.gen(function*() {
            const [a, b] = [yield* browser, yield* browser]
            const [word, single] = yield* ask("AT", "joe", "private-.*")
            expect([word, single]).toEqual(["AT", expect.stringMatching(/^[0-9a-f]{128}$/)])
            yield* a.send({ auth: { token: single } })
            expect(yield* a.next).toEqual({ ":authenticated": {} })
            yield* a.send({ subscribe: { channel: "private-room" } })
            expect(yield* a.next).toEqual({ ":subscribed": { channel: "private-room", uid: "joe" } })
            yield* b.send({ auth: { token: single } })
            expect(yield* b.next).toEqual({ ":error": { code: 402, status: "Unauthorized" } })
          }))

        it.effect.each<[Frames, string]>([
          [["OC"], "400"],
          [["OC", ""], "400"],
          [["OC", "%%%"], "451"],
          [["OC", "a".repeat(256)], "451"],
          [["CC"], "400"],
          [["CC", ""], "400"],
          [["CC", "nope"], "454"],
          [["CC", "%%%"], "454"],
          [["CC", "__proto__"], "454"],
          [["BC"], "400"],
          [["BC", "room"], "400"],
          [["BC", "room", "hello"], "400"],
          [["BC", "", "hello", "{}"], "400"],
          [["BC", "room", "", "{}"], "400"],
          [["BC", "nope", "hello", "{}"], "454"],
          [["BC", "%%%", "hello", "{}"], "454"],
          [["AT"], "400"],
          [["AT", "joe"], "400"],
          [["AT", "", ".*"], "400"],
          [["AT", "joe", ""], "400"],
          [["AT", "joe", "..*{34}"], "597"],
          [["AT", "joe", "(?=a)"], "597"],
          [["AT", "joe", "a".repeat(1001)], "597"],
          [["BX"], "400"],
          [["BX", "room", "hello", "{}"], "400"],
          [["BX", "nope", "hello", "{}", "s"], "454"],
          [["BA"], "400"],
          [["BA", "not json"], "400"],
          [["BA", `[["room","hello"]]`], "400"],
          [["ST", "s"], "400"],
          [["ST", "s", "hello"], "400"],
          [["ST", "nobody", "hello", "{}"], "455"],
          [["DC"], "400"],
          [["DC", "nope"], "454"],
          [["LS"], "400"],
          [["LS", "nope"], "454"],
          [["DB"], "400"],
          [["DB", "all", "joe"], "400"],
          [["XX"], "400"],
          [["oc", "room"], "400"],
          [["OK"], "400"],
          [["TR", "{}"], "400"],
          [[""], "400"],
          [["__proto__"], "400"],
          // A Worker's words are not a Client's.
          [["RD"], "400"],
          [["RD", "ack", "1", "{}"], "400"],
          [["AK", "a-1"], "400"],
          [["NK", "a-1", ""], "400"],
          [["HB"], "400"],
          [["QT"], "400"]
        ])("%j is answered with ER %s", ([frames, code]) =>
          Effect.gen(function*() {
            expect(yield* ask(...frames)).toEqual(["ER", code])
            expect((yield* lobby).workers).toEqual([])
          }))

        it.effect("has one browser not hear a broadcast", () =>
          Effect.gen(function*() {
            const [a, b] = [yield* browser, yield* browser]
            for (const page of [a, b]) {
              yield* page.send({ subscribe: { channel: "room" } })
              yield* page.nextOf(":subscribed")
            }
            expect(yield* ask("BX", "room", "hello", `{"n":1}`, a.sid)).toEqual(["OK"])
            expect(yield* ask("BC", "room", "next", "{}")).toEqual(["OK"])
            expect([yield* a.next, yield* b.next]).toEqual([
              { next: { channel: "room" } },
              { hello: { n: 1, channel: "room" } }
            ])
          }))

        it.effect("broadcasts many at once, and hears of each", () =>
          Effect.gen(function*() {
            const page = yield* browser
            yield* page.send({ subscribe: { channel: "room" } })
            yield* page.nextOf(":subscribed")
            const broadcasts = [["room", "a", { n: 1 }], ["nope", "b", {}], ["room", "c", {}, page.sid], [
              "room",
              "d",
              {}
            ]]
            expect(yield* ask("BA", JSON.stringify(broadcasts))).toEqual(["OK", "[204,454,204,204]"])
            expect([yield* page.next, yield* page.next]).toEqual([
              { a: { n: 1, channel: "room" } },
              { d: { channel: "room" } }
            ])
          }))

        it.effect("sends an event to one browser, and learns when that has gone", () =>
          Effect.gen(function*() {
            const sid = yield* Effect.scoped(Effect.gen(function*() {
              const page = yield* browser
              expect(yield* ask("ST", page.sid, "hello", `{"what":"zażółć 🚀","sid":"x"}`)).toEqual(["OK"])
              expect(yield* ask("ST", page.sid, "bare", "")).toEqual(["OK"])
              expect([yield* page.next, yield* page.next]).toEqual([
                { hello: { what: "zażółć 🚀", sid: "x" } },
                { bare: {} }
              ])
              return page.sid
            }))
            const [, code] = yield* eventually(ask("ST", sid, "hello", "{}"), ([word]) => word === "ER")
            expect(code).toBe("455")
          }))

        it.effect("lists channels and who is on them", () =>
          Effect.gen(function*() {
            const page = yield* browser
            const [_, single] = yield* ask("AT", "joe", ".*")
            yield* ask("OC", "presence-listed")
            yield* page.send({ auth: { token: single } })
            yield* page.send({ subscribe: { channel: "presence-listed", data: { name: "Joe" } } })
            yield* page.nextOf(":memberJoined")
            const info = { name: "presence-listed", subscribers: 1 }
            expect(yield* ask("DC", "presence-listed")).toEqual(["OK", JSON.stringify(info)])
            expect(yield* ask("LC", "presence-l", "0")).toEqual([
              "OK",
              JSON.stringify({ channels: [info], next: null })
            ])
            expect(yield* ask("LC", "nope")).toEqual(["OK", JSON.stringify({ channels: [], next: null })])
            const [word, all] = yield* ask("LC")
            expect([word, JSON.parse(all!)]).toMatchObject(["OK", { channels: [{ name: "room" }, {}, {}, info] }])
            expect(yield* ask("LS", "presence-listed", "0")).toEqual([
              "OK",
              JSON.stringify({ subscribers: [{ sid: page.sid, uid: "joe", data: { name: "Joe" } }], next: null })
            ])
            expect(yield* ask("CC", "presence-listed")).toEqual(["OK"])
          }))

        it.effect("lists, replays and discards dead letters", () =>
          Effect.gen(function*() {
            const { vhost } = yield* TestBroker
            for (const id of ["a-1", "a-2", "a-3", "a b"]) {
              yield* vhost.deadLetters.add({ id, json: event(1), origin: undefined, attempts: 1, reason: "no" })
            }
            const ids = Effect.map(ask("LD", "0"), ([word, json]) => {
              expect(word).toBe("OK")
              const { deadLetters, next } = JSON.parse(json!) as {
                readonly deadLetters: ReadonlyArray<{ readonly id: string }>
                readonly next: null
              }
              expect(next).toBe(null)
              return deadLetters.map(({ id }) => id)
            })
            expect(yield* ids).toEqual(["a-1", "a-2", "a-3", "a b"])
            for (const word of ["RL", "DL"]) {
              expect(yield* ask(word)).toEqual(["ER", "400"])
              expect(yield* ask(word, "")).toEqual(["ER", "400"])
              expect(yield* ask(word, "nope")).toEqual(["ER", "456"])
            }
            expect(yield* ask("DL", "a b")).toEqual(["OK"])
            expect(yield* ask("RL", "a-2", `{"traceparent":"x"}`)).toEqual(["OK"])
            expect(yield* ids).toEqual(["a-1", "a-3"])
            expect(yield* ask("RL", "*")).toEqual(["OK", `{"replayed":2,"left":0}`])
            expect(yield* ask("DL", "*")).toEqual(["OK", `{"discarded":0}`])
            // Three events wait, for a worker that takes them.
            const taking = yield* worker(connect)
            for (const _ of [1, 2, 3]) expect(yield* taking.next).toEqual(["TR", event(1)])
            yield* taking.say("QT")
          }))

        it.effect("disconnects a browser, and all browsers of a user, who are told with 4403 not to come back", () =>
          Effect.gen(function*() {
            const [a, b, c] = [yield* browser, yield* browser, yield* browser]
            expect(yield* ask("DB", "sid", a.sid)).toEqual(["OK", `{"disconnected":1}`])
            for (const page of [b, c]) {
              const [_, single] = yield* ask("AT", "joe", ".*")
              yield* page.send({ auth: { token: single } })
              yield* page.nextOf(":authenticated")
            }
            expect(yield* ask("DB", "uid", "ann")).toEqual(["OK", `{"disconnected":0}`])
            expect(yield* ask("DB", "uid", "joe")).toEqual(["OK", `{"disconnected":2}`])
            for (const page of [a, b, c]) {
              expect(yield* page.nextOf(":closed")).toEqual({ sid: page.sid })
              expect(yield* page.closed).toBe(4403)
            }
            const none = ["OK", `{"disconnected":0}`]
            yield* eventually(ask("DB", "sid", a.sid), (answer) => answer[1] === none[1])
          }))

        it.effect("answers alike with a span behind the arguments", () =>
          Effect.gen(function*() {
            const span = `{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
            expect(yield* ask("OC", "room", span)).toEqual(["OK"])
            expect(yield* ask("BC", "room", "hello", "{}", span)).toEqual(["OK"])
            expect(yield* ask("BX", "room", "hello", "{}", "s", span)).toEqual(["OK"])
            expect(yield* ask("LC", "nope", "0", span)).toEqual(["OK", `{"channels":[],"next":null}`])
            expect(yield* ask("DC", "nope", span)).toEqual(["ER", "454"])
          }))

        it.effect("minds no frames beyond those it knows", () =>
          Effect.gen(function*() {
            expect(yield* ask("OC", "room", "later", "versions")).toEqual(["OK"])
            expect(yield* ask("BC", "room", "hello", "{}", "x", "")).toEqual(["OK"])
          }))

        it.effect.each<[string, string]>([
          ["a wrong token", identity("req", { token: "0".repeat(40) })],
          ["an unknown vhost", identity("req", { vhost: "/nope" })],
          ["a Worker with a wrong token", identity("dlr", { token: "0".repeat(40) })],
          ["another kind", identity("req").replace("req", "xyz")],
          ["a short id", identity("req", { id: "1" })],
          ["a path that is none", identity("req", { vhost: "test" })],
          ["no identity at all", "hello"]
        ])("is answered with ER 402 where it comes as %s", ([_, who]) =>
          Effect.gen(function*() {
            for (const command of [["OC", "room"], ["RD"], ["HB"], ["nonsense"]]) {
              const backend = yield* connect(who)
              yield* backend.say(...command)
              expect(yield* backend.next).toEqual(["ER", "402"])
            }
            expect((yield* lobby).workers).toEqual([])
          }).pipe(Effect.scoped))

        it.effect("is refused with ER 597 beyond the vhost's bounds", () =>
          Effect.gen(function*() {
            const { vhost } = yield* TestBroker
            const open = (yield* vhost.channels.list).length
            for (let n = open; n < 50; n++) yield* vhost.channels.open(`filler${n}`)
            expect(yield* ask("OC", "one-too-many")).toEqual(["ER", "597"])
            expect(yield* ask("OC", "room")).toEqual(["OK"])
            yield* Effect.ignore(Effect.forever(vhost.accessTokens.issue("joe", ".*")))
            expect(yield* ask("AT", "joe", ".*")).toEqual(["ER", "597"])
          }))
      }
    )

    describe(`a Worker over ${name}`, () => {
      it.effect("is greeted, answered, given events, and goes", () =>
        Effect.gen(function*() {
          const who = identity("dlr")
          const self = yield* worker(connect, who)
          expect((yield* lobby).workers).toEqual([who.slice(-36)])
          yield* trigger(event(1))
          expect(yield* self.next).toEqual(["TR", event(1)])
          yield* self.say("HB")
          expect(yield* self.next).toEqual(["HB"])
          yield* self.say("QT")
          yield* eventually(lobby, ({ workers }) => workers.length === 0)
          yield* trigger(event(2))
          expect((yield* lobby).queued).toBe(1)
        }).pipe(withBroker()))

      it.effect("hears a heartbeat every interval, and QT after three that it has missed", () =>
        Effect.gen(function*() {
          const self = yield* worker(connect)
          yield* answered(self)
          for (let n = 0; n < 3; n++) {
            yield* TestClock.adjust("499 millis")
            yield* TestClock.adjust("1 millis")
            expect(yield* self.next).toEqual(["HB"])
          }
          expect((yield* lobby).workers.length).toBe(1)
          yield* TestClock.adjust("500 millis")
          expect(yield* self.next).toEqual(["QT"])
          expect((yield* lobby).workers).toEqual([])
          yield* trigger(event(1))
          expect((yield* lobby).queued).toBe(1)
        }).pipe(withBroker()))

      it.effect("stays for as long as it is heard", () =>
        Effect.gen(function*() {
          const self = yield* worker(connect)
          for (let n = 0; n < 20; n++) {
            yield* self.say("HB")
            expect(yield* self.next).toEqual(["HB"])
            yield* TestClock.adjust("500 millis")
            expect(yield* self.next).toEqual(["HB"])
          }
          expect((yield* lobby).workers.length).toBe(1)
        }).pipe(withBroker()))

      it.live("hears heartbeats in real time, and expires in real time", () =>
        Effect.gen(function*() {
          const start = performance.now()
          const self = yield* worker(connect)
          let heartbeats = 0
          let heard = yield* self.next
          for (; heard[0] === "HB"; heard = yield* self.next) heartbeats++
          expect(heard).toEqual(["QT"])
          expect(heartbeats).toBeGreaterThanOrEqual(1)
          expect(performance.now() - start).toBeGreaterThan(150)
        }).pipe(withBroker({ heartbeat: { interval: "50 millis" } })))

      it.effect("that says HB and is not known hears QT", () =>
        Effect.gen(function*() {
          const self = yield* connect(identity("dlr"))
          yield* self.say("HB")
          expect(yield* self.next).toEqual(["QT"])
          expect((yield* lobby).workers).toEqual([])
        }).pipe(withBroker()))

      it.effect.each<[Frames]>([
        [["OC", "room"]],
        [["BC", "room", "e", "{}"]],
        [["AT", "joe", ".*"]],
        [["AK"]],
        [["NK", "", "it failed"]],
        [["XX"]],
        [[""]]
      ])(
        "that says %j is answered with ER 400",
        ([frames]) =>
          Effect.gen(function*() {
            const self = yield* worker(connect)
            yield* self.say(...frames)
            expect(yield* self.next).toEqual(["ER", "400"])
            yield* stillServes
          }).pipe(withBroker())
      )

      it.effect("finds what was triggered while nobody was there, in order", () =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const page = yield* browser
          const single = yield* ask("AT", "joe", ".*")
          yield* page.send({ auth: { token: single[1] } })
          for (let n = 0; n < 5; n++) yield* page.send({ trigger: { event: "chat/save", data: { n } } })
          yield* page.send({ trigger: { event: "too-much" } })
          yield* page.nextOf(":authenticated")
          expect(yield* page.next).toEqual({ ":error": { code: 597, status: "Internal error" } })
          expect((yield* vhost.lobby.info).queued).toBe(5)
          const self = yield* worker(connect)
          for (let n = 0; n < 5; n++) {
            expect(yield* self.next).toEqual(["TR", JSON.stringify({ "chat/save": { n, sid: page.sid } })])
          }
          yield* page.send({ trigger: { event: "again" } })
          expect(yield* self.next).toEqual(["TR", JSON.stringify({ again: { sid: page.sid } })])
        }).pipe(withBroker({ queue: { capacity: 5 } })))

      it.effect("is told where an event comes from if it says anything of itself, and else what the original says", () =>
        Effect.gen(function*() {
          const page = yield* browser
          const [_, single] = yield* ask("AT", "joe", ".*")
          yield* page.send({ auth: { token: single } })
          yield* page.send({ subscribe: { channel: "room" } })
          const say = Effect.gen(function*() {
            yield* page.send({ trigger: { event: "e", data: { uid: "root", channel: "forged" } } })
            yield* page.send({ broadcast: { channel: "room", event: "b", trigger: "t", data: {} } })
          })
          const { sid } = page
          const [e, t] = [{ e: { uid: "root", channel: "forged", sid } }, { t: { channel: "room", sid } }]
          for (const options of [`{"lifecycle":false}`, "{}", undefined]) {
            const who = identity("dlr")
            const self = yield* connect(who)
            yield* self.say("RD", ...(options === undefined ? [] : [options]))
            expect(yield* self.next).toEqual(["HB"])
            yield* self.say("HB")
            yield* say
            const [first, second] = [yield* self.next, yield* self.next]
            expect([first, second].map(([word, json]) => [word, JSON.parse(json!)])).toEqual([["TR", e], ["TR", t]])
            if (options === undefined) expect([first.length, second.length]).toEqual([2, 2])
            else {
              expect([first, second].map(([_word, _json, origin]) => JSON.parse(origin!) as unknown)).toEqual([
                { sid, uid: "joe" },
                { sid, uid: "joe", channel: "room" }
              ])
            }
            yield* self.say("QT")
            yield* eventually(lobby, ({ workers }) => workers.length === 0)
          }
        }).pipe(withBroker()))

      it.effect("that acknowledges has as many as it wants, each with a name, until it says what became of it", () =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const self = yield* acknowledging(connect, 2)
          for (const n of [1, 2, 3, 4]) yield* trigger(event(n))
          const [one, two] = [yield* delivery(self, event(1), 1), yield* delivery(self, event(2), 1)]
          expect((yield* lobby).queued).toBe(2)
          yield* self.say("AK", one, two)
          const three = yield* delivery(self, event(3), 1)
          const four = yield* delivery(self, event(4), 1)
          expect(new Set([one, two, three, four]).size).toBe(4)
          // Given back, it comes again; failed as often as it may, it does not.
          yield* self.say("NK", three, "")
          expect(yield* delivery(self, event(3), 2)).toBe(three)
          yield* self.say("NK", four, "Error: zażółć")
          yield* backoff(2)
          expect(yield* delivery(self, event(4), 2)).toBe(four)
          yield* self.say("NK", four, "Error: again")
          yield* self.say("AK", three)
          yield* eventually(Effect.sync(() => vhost.lobby.counters), ({ unacknowledged }) => unacknowledged === 0)
          expect(vhost.lobby.counters).toMatchObject({ acknowledged: 3, redelivered: 2, queued: 0 })
          expect(yield* vhost.deadLetters.list).toMatchObject([
            { id: four, json: event(4), attempts: 2, reason: "Error: again" }
          ])
        }).pipe(withBroker()))

      it.effect("that acknowledges can do so fifty at once", () =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const self = yield* acknowledging(connect, maxAcknowledged)
          const ids: Array<string> = []
          for (let n = 0; n <= maxAcknowledged; n++) yield* trigger(event(n))
          for (let n = 0; n < maxAcknowledged; n++) ids.push(yield* delivery(self, event(n), 1))
          yield* self.say("AK", ...ids)
          yield* delivery(self, event(maxAcknowledged), 1)
          expect(vhost.lobby.counters).toMatchObject({ acknowledged: maxAcknowledged, unacknowledged: 1 })
        }).pipe(withBroker()))

      it.effect("that acknowledges is told where an event comes from, behind its name and attempt", () =>
        Effect.gen(function*() {
          const self = yield* acknowledging(connect, 2)
          const page = yield* browser
          const [_, single] = yield* ask("AT", "joe", ".*")
          yield* page.send({ auth: { token: single } })
          yield* page.send({ trigger: { event: "e" } })
          const [word, json, id, attempt, origin, ...more] = yield* self.next
          expect([word, json, attempt, more]).toEqual(["TR", JSON.stringify({ e: { sid: page.sid } }), "1", []])
          expect(JSON.parse(origin!)).toEqual({ sid: page.sid, uid: "joe" })
          yield* self.say("NK", id!, "it failed")
          yield* backoff(1)
          expect(yield* self.next).toEqual(["TR", json, id, "2", origin])
        }).pipe(withBroker()))

      it.effect("that acknowledges can want none, or another number, while it is there", () =>
        Effect.gen(function*() {
          const self = yield* acknowledging(connect, 0)
          for (const n of [1, 2, 3]) yield* trigger(event(n))
          yield* self.say("HB")
          expect(yield* self.next).toEqual(["HB"])
          // What it can say of itself besides may be absent.
          yield* self.say("RD", "ack", "1")
          expect(yield* self.next).toEqual(["HB"])
          const one = yield* delivery(self, event(1), 1)
          yield* self.say("RD", "ack", "0", "{}")
          expect(yield* self.next).toEqual(["HB"])
          yield* self.say("AK", one)
          yield* self.say("HB")
          expect(yield* self.next).toEqual(["HB"])
          expect((yield* lobby).queued).toBe(2)
        }).pipe(withBroker()))

      it.effect.each<["leaves" | "expires"]>([["leaves"], ["expires"]])(
        "that acknowledges and %s has what it has in hand go to the next, whatever that understands",
        ([how]) =>
          Effect.gen(function*() {
            const { vhost } = yield* TestBroker
            const self = yield* acknowledging(connect, 3)
            for (const n of [1, 2, 3, 4]) yield* trigger(event(n))
            const ids = [
              yield* delivery(self, event(1), 1),
              yield* delivery(self, event(2), 1),
              yield* delivery(self, event(3), 1)
            ]
            const go = (self: Backend) =>
              Effect.andThen(
                how === "leaves" ? self.say("QT") : TestClock.adjust("2 seconds"),
                eventually(lobby, ({ workers }) => workers.length === 0)
              )
            yield* self.say("AK", ids[1]!)
            yield* delivery(self, event(4), 1)
            yield* go(self)
            expect((yield* lobby).queued).toBe(3)
            // What one says that has gone is nothing.
            if (name === "ZeroMQ") yield* self.say("AK", ids[0]!)
            const next = yield* acknowledging(connect, 1)
            expect(yield* delivery(next, event(1), 2)).toBe(ids[0])
            yield* next.say("NK", ids[0]!, "")
            expect(yield* delivery(next, event(1), 3)).toBe(ids[0])
            yield* go(next)
            const saysOptions = yield* connect(identity("dlr"))
            yield* saysOptions.say("RD", "{}")
            expect(yield* saysOptions.next).toEqual(["HB"])
            yield* saysOptions.say("HB")
            expect(yield* saysOptions.next).toEqual(["TR", event(1)])
            expect(yield* saysOptions.next).toEqual(["TR", event(3)])
            expect(yield* saysOptions.next).toEqual(["TR", event(4)])
            yield* go(saysOptions)
            // To these it was handed over once and for all.
            expect(vhost.lobby.counters).toMatchObject({ queued: 0, unacknowledged: 0, acknowledged: 1 })
            const bare = yield* worker(connect)
            yield* trigger(event(5))
            expect(yield* bare.next).toEqual(["TR", event(5)])
          }).pipe(withBroker())
      )

      it.effect("that nobody knows acknowledges nothing, and is told nothing", () =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const self = yield* acknowledging(connect, 1)
          yield* trigger(event(1))
          const one = yield* delivery(self, event(1), 1)
          const other = yield* connect(identity("dlr"))
          yield* other.say("AK", one)
          yield* other.say("NK", one, "it failed")
          yield* other.say("HB")
          expect(yield* other.next).toEqual(["QT"])
          expect(vhost.lobby.counters).toMatchObject({ acknowledged: 0, redelivered: 0, unacknowledged: 1 })
        }).pipe(withBroker()))

      it.effect("gets lifecycle events if it takes them, each once, and others get none", () =>
        Effect.gen(function*() {
          const [plain, bare, taker] = [
            yield* connect(identity("dlr")),
            yield* worker(connect),
            yield* connect(identity("dlr"))
          ]
          for (const [self, options] of [[plain, `{"lifecycle":false}`], [taker, `{"lifecycle":true}`]] as const) {
            yield* self.say("RD", options)
            expect(yield* self.next).toEqual(["HB"])
            yield* self.say("HB")
          }
          const page = yield* browser
          const [_, single] = yield* ask("AT", "joe", ".*")
          yield* page.send({ auth: { token: single } })
          yield* page.send({ subscribe: { channel: "presence-room", data: { name: "Joe" } } })
          yield* page.nextOf(":memberJoined")
          yield* ask("DB", "uid", "joe")
          yield* page.closed
          const member = { channel: "presence-room", uid: "joe", data: { name: "Joe" } }
          const expected = [
            ["browserConnected", { sid: page.sid }],
            ["channelOccupied", { channel: "presence-room" }],
            ["memberJoined", member],
            ["memberLeft", member],
            ["channelVacated", { channel: "presence-room" }],
            ["browserDisconnected", { sid: page.sid, uid: "joe" }]
          ] as const
          for (const [name, data] of expected) {
            expect(yield* taker.next).toEqual(["TR", JSON.stringify({ [`:lifecycle/${name}`]: data })])
          }
          for (const n of [0, 1, 2]) yield* trigger(event(n))
          const seen = [yield* plain.next, yield* bare.next, yield* taker.next]
          expect(seen.map(([_, json]) => json).toSorted()).toEqual([event(0), event(1), event(2)])
        }).pipe(withBroker()))

      it.effect("shares events with the others, round robin", () =>
        Effect.gen(function*() {
          const workers = [yield* worker(connect), yield* worker(connect), yield* worker(connect)]
          yield* Effect.forEach(workers, answered)
          for (let n = 0; n < 9; n++) yield* trigger(event(n))
          for (let n = 0; n < 9; n++) expect(yield* workers[n % 3]!.next).toEqual(["TR", event(n)])
        }).pipe(withBroker()))

      it.effect("gets many events at once in their order, none twice and none lost", () =>
        Effect.gen(function*() {
          const [a, b] = [yield* worker(connect), yield* worker(connect)]
          const count = 2000
          for (let n = 0; n < count; n++) yield* trigger(event(n))
          const [byA, byB] = [yield* numbersGiven(a), yield* numbersGiven(b)]
          yield* eventually(Effect.sync(() => byA.length + byB.length), (given) => given === count)
          const sorted = (numbers: ReadonlyArray<number>) => numbers.toSorted((x, y) => x - y)
          // Neither is given much more than the other.
          for (const given of [byA, byB]) {
            expect(given).toEqual(sorted(given))
            expect(given.length).toBeGreaterThan(count / 3)
          }
          expect(sorted([...byA, ...byB])).toEqual(Array.from({ length: count }, (_, n) => n))
        }).pipe(withBroker()))

      it.effect("is never given more than the bound: the browser is told that its event is too large", () =>
        Effect.gen(function*() {
          const self = yield* worker(connect)
          const page = yield* browser
          const [_, single] = yield* ask("AT", "joe", ".*")
          yield* page.send({ auth: { token: single } })
          yield* page.nextOf(":authenticated")
          // Short to say in JSON, and four times as long as JavaScript writes it.
          yield* page.send(`{"trigger":{"event":"large","data":{"a":[${Array(380).fill("1e20").join()}]}}}`)
          yield* page.send({ trigger: { event: "small" } })
          const [word, json] = yield* self.next
          expect([word, json!.length]).toEqual(["TR", JSON.stringify({ small: { sid: page.sid } }).length])
          expect(yield* page.next).toMatchObject({ ":error": {} })
        }).pipe(withBroker({ maxMessageSize: 2000 })))

      it.effect("is sent away with its vhost, and finds the door closed then", () =>
        Effect.gen(function*() {
          const vhosts = yield* Vhosts.Vhosts
          const self = yield* worker(connect)
          const other = yield* vhosts.add({ path: "/other", token })
          const elsewhere = yield* worker(connect, identity("dlr", { vhost: "/other" }))
          yield* vhosts.remove("/test")
          expect(yield* self.next).toEqual(["QT"])
          const again = yield* connect(identity("dlr"))
          yield* again.say("RD")
          expect(yield* again.next).toEqual(["ER", "402"])
          yield* engineOf(other).lobby.enqueue(event(1))
          expect(yield* elsewhere.next).toEqual(["TR", event(1)])
        }).pipe(withBroker()))
    })
  }

  it.effect("shares events between workers of both transports", () =>
    Effect.gen(function*() {
      const [a, b] = [yield* worker(zmq), yield* worker(tcp)]
      yield* Effect.forEach([a, b], answered)
      for (let n = 0; n < 6; n++) yield* trigger(event(n))
      for (let n = 0; n < 6; n++) expect(yield* (n % 2 === 0 ? a : b).next).toEqual(["TR", event(n)])
      // Two endpoints look after one lobby, but nobody hears twice as much.
      for (let n = 0; n < 3; n++) {
        yield* TestClock.adjust("500 millis")
        for (const self of [a, b]) {
          expect(yield* self.next).toEqual(["HB"])
          yield* self.say("HB")
          expect(yield* self.next).toEqual(["HB"])
        }
      }
      yield* trigger(event(6))
      expect(yield* a.next).toEqual(["TR", event(6)])
    }).pipe(withBroker()))

  const engine = Layer.provide(
    Engine.layer,
    settings({ vhosts: [{ path: "/test", token }] })
  )

  it.effect("a fault of the broker's own is answered with ER 597, and is one message's alone", () =>
    Effect.gen(function*() {
      const listening = yield* Deferred.make<Handlers>()
      const vhosts = yield* Engine.Vhosts
      const faulty = Engine.Vhosts.of({
        ...vhosts,
        authorize: (who) => who.vhost === "/test" ? vhosts.authorize(who) : Effect.die(new Error("a fault"))
      })
      yield* BackendEndpoint.make(
        () => Effect.succeed({ port: 1, run: (handlers) => Deferred.succeed(listening, handlers) }),
        1
      ).pipe(Effect.provideService(Engine.Vhosts, faulty), Effect.provide(BrokerConfig.layer()))
      const { onMessage } = yield* Deferred.await(listening)
      const said: Array<unknown> = []
      const peer = (vhost: string): Peer => ({
        identity: identity("req", { vhost }),
        connection: {},
        seesClose: true,
        sendUnsafe: (frames) => said.push(frames) > 0,
        separateUnsafe: () => undefined,
        close: Effect.sync(() => void said.push("closed")),
        disconnect: Effect.sync(() => void said.push("disconnected"))
      })
      yield* onMessage(peer("/faulty"), ["OC", "fresh"]) ?? Effect.void
      yield* onMessage(peer("/test"), ["OC", "fresh"]) ?? Effect.void
      expect(said).toEqual([["ER", "597"], "closed", ["OK"], "closed"])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(engine, Logger.layer([])))))

  it.effect("a fault in what is done at once is one message's alone, too, and every message is counted", () =>
    Effect.gen(function*() {
      const listening = yield* Deferred.make<Handlers>()
      const vhosts = yield* Engine.Vhosts
      let isFaulty = true
      const faulty = Engine.Vhosts.of({
        ...vhosts,
        authorize: (who) =>
          Effect.map(vhosts.authorize(who), (vhost) => ({
            ...vhost,
            channels: {
              ...vhost.channels,
              broadcastUnsafe: (...broadcast) => {
                if (isFaulty) throw new Error("a fault")
                return vhost.channels.broadcastUnsafe(...broadcast)
              }
            }
          }))
      })
      yield* BackendEndpoint.make(
        () => Effect.succeed({ port: 1, run: (handlers) => Deferred.succeed(listening, handlers) }),
        1
      ).pipe(Effect.provideService(Engine.Vhosts, faulty), Effect.provide(BrokerConfig.layer()))
      const { onMessage } = yield* Deferred.await(listening)
      const said: Array<unknown> = []
      let isBroken = false
      const id = randomUUID()
      const say = (message: string, frames: Frames) =>
        onMessage({
          identity: identity("req", { id }),
          connection: {},
          message,
          seesClose: true,
          sendUnsafe: (frames) => {
            if (isBroken) {
              isBroken = false
              throw new Error("a fault")
            }
            return said.push(frames) > 0
          },
          separateUnsafe: () => undefined,
          close: Effect.void,
          disconnect: Effect.sync(() => void said.push("disconnected"))
        }, frames) ?? Effect.void
      yield* say("1", ["OC", "fresh"])
      yield* say("2", ["BC", "fresh", "hello", "{}"])
      isFaulty = false
      // Whoever asks again hears that nobody knows what became of it.
      yield* say("3", ["AG", id, "2", "BC", "fresh", "hello", "{}"])
      yield* say("4", ["BC", "fresh", "hello", "{}"])
      yield* say("5", ["BC", "other", "hello", "{}"])
      isBroken = true
      yield* say("6", ["BC", "fresh", "hello", "{}"])
      const failed = ["ER", "597", `{"reason":"the broker failed"}`]
      expect(said).toEqual([["OK"], failed, ["ER", "408"], ["OK"], ["ER", "454"], failed])
      const counted = (yield* Metric.snapshot).filter(({ id }) => id === "kosmonaut_broker_requests")
      expect(Object.fromEntries(
        counted.map(({ attributes, state }) => [
          `${attributes?.["command"]} ${attributes?.["outcome"]}`,
          Number((state as { count: number }).count)
        ])
      )).toEqual({ "openChannel ok": 1, "broadcast defect": 1, "broadcast ok": 2, "broadcast 454": 1 })
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.merge(engine, Logger.layer([]))),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))

  describe("over ZeroMQ", () => {
    const req = (who = identity("req")) =>
      Effect.flatMap(TestBroker, ({ broker }) => RawZmq.req(broker.backendPort, who))

    it.effect("a plain REQ socket can ask everything, one after another", () =>
      Effect.gen(function*() {
        const page = yield* browser
        const ask = yield* req()
        expect(yield* ask("OC", "fresh")).toEqual(["OK"])
        yield* page.send({ subscribe: { channel: "fresh" } })
        yield* page.nextOf(":subscribed")
        const data = JSON.stringify({ text: "line\nline\r\n\r\n zażółć" })
        expect(yield* ask("BC", "fresh", "hello", data)).toEqual(["OK"])
        expect(yield* page.next).toEqual({ hello: { text: "line\nline\r\n\r\n zażółć", channel: "fresh" } })
        const [word, single] = yield* ask("AT", "joe", ".*")
        expect([word, single!.length]).toEqual(["AT", 128])
        expect(yield* ask("AT", "joe", "(")).toEqual(["ER", "597"])
        expect(yield* ask("OC", "a\nb")).toEqual(["ER", "451"])
        expect(yield* ask("XX")).toEqual(["ER", "400"])
        expect(yield* ask("CC", "fresh")).toEqual(["OK"])
        expect(yield* ask("CC", "fresh")).toEqual(["ER", "454"])
        expect(yield* ask("BC", "fresh", "hello", "{}")).toEqual(["ER", "454"])
      }).pipe(withBroker()))

    it.effect("answers come back in the envelopes of their requests", () =>
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

    it.effect("answers a thousand requests in flight on one socket, each in its envelope", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
        for (let n = 0; n < 1000; n++) yield* dealer.send(`id${n}`, "", ...(n % 2 ? ["OC", "room"] : ["CC", "nope"]))
        const answers = yield* Effect.replicateEffect(dealer.next, 1000)
        const got = new Map(answers.map(([id, ...rest]) => [id, rest.join("|")]))
        expect(got.size).toBe(1000)
        for (let n = 0; n < 1000; n++) expect(got.get(`id${n}`)).toBe(n % 2 ? "|OK" : "|ER|454")
      }).pipe(withBroker()))

    it.effect("carries bytes of envelopes as they are", () =>
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
    ])("answers ER 400 to a message %s", ([_, frames]) =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
        yield* dealer.send(...frames)
        const answer = yield* dealer.next
        expect(answer.slice(-3)).toEqual(["", "ER", "400"])
        yield* stillServes
      }).pipe(withBroker()))

    it.effect("echoes envelopes up to a bound, and answers ER 400 without them beyond", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
        const id = "x".repeat(300)
        yield* dealer.send(id, "", "OC", "room")
        expect(yield* dealer.next).toEqual([id, "", "OK"])
        yield* dealer.send("x".repeat(10_000), "", "OC", "room")
        expect(yield* dealer.next).toEqual(["", "ER", "400"])
      }).pipe(withBroker()))

    it.effect("reads messages of sixty-four frames, and answers ER 400 to longer ones", () =>
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

    it.effect("answers ER 402 to sockets without an identity of their own, each its own answer", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const dealers = yield* Effect.replicateEffect(RawZmq.dealer(broker.backendPort, undefined), 3)
        for (const dealer of dealers) yield* dealer.send("id", "", "OC", "room")
        for (const dealer of dealers) expect(yield* dealer.next).toEqual(["id", "", "ER", "402"])
      }).pipe(withBroker()))

    it.effect("reads a message of many frames as one against the bound", () =>
      Effect.gen(function*() {
        const ask = yield* req()
        expect(yield* ask("BC", "room", "e", "x".repeat(1500))).toEqual(["OK"])
        expect(yield* ask("BC", "room", "e", "x".repeat(900), "x".repeat(900), "x".repeat(900))).toEqual(["ER", "400"])
        yield* stillServes
      }).pipe(withBroker({ maxMessageSize: 2000 })))

    it.effect("ends the connection of who sends a frame beyond the bound, and serves the others", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const other = yield* worker(zmq)
        const dealer = yield* RawZmq.dealer(broker.backendPort, identity("req"))
        yield* dealer.send("one", "", "OC", "room")
        yield* dealer.next
        yield* dealer.send("two", "", "BC", "room", "e", "x".repeat(2001))
        yield* dealer.disconnected
        yield* trigger(event(1))
        expect(yield* other.next).toEqual(["TR", event(1)])
        yield* stillServes
      }).pipe(withBroker({ maxMessageSize: 2000 })))

    it.effect("survives whatever comes over the port without being ZeroMQ", () =>
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
        yield* trigger(event(1))
        expect(yield* other.next).toEqual(["TR", event(1)])
        yield* stillServes
      }).pipe(withBroker()))

    it.effect("gives events past a worker that vanished, before it has expired", () =>
      Effect.gen(function*() {
        const stays = yield* worker(zmq)
        yield* Effect.scoped(worker(zmq))
        expect((yield* lobby).workers.length).toBe(2)
        const given = yield* numbersGiven(stays)
        // ZeroMQ takes a moment to notice. What is handed over until then is lost, as the protocol has it: every second.
        let n = 0
        yield* eventually(
          Effect.andThen(Effect.suspend(() => trigger(event(n++))), turn),
          () => given.some((number, index) => index > 0 && number === given[index - 1]! + 1)
        )
        for (let later = 1000; later < 1010; later++) yield* trigger(event(later))
        yield* eventually(Effect.sync(() => given.at(-1)), (last) => last === 1009)
        expect(given.slice(-10)).toEqual(Array.from({ length: 10 }, (_, index) => 1000 + index))
        expect((yield* lobby).queued).toBe(0)
      }).pipe(withBroker()))

    it.effect("gives events past a worker that does not read, once what may wait for it is there", () =>
      Effect.gen(function*() {
        const { broker } = yield* TestBroker
        const deaf = yield* RawZmq.deafDealer(broker.backendPort, identity("dlr"))
        yield* deaf.send("", "RD")
        yield* deaf.send("", "HB")
        yield* eventually(lobby, ({ workers }) => workers.length === 1)
        const given = yield* numbersGiven(yield* worker(zmq))
        const text = "x".repeat(2000)
        const count = 12_000
        for (let n = 0; n < count; n++) {
          yield* trigger(`{"e":{"n":${n},"text":"${text}"}}`)
          if (n % 100 === 0) yield* turn
        }
        yield* eventually(Effect.sync(() => given.length), () => given.at(-1) === count - 1)
        // From some point on, all of them: what the other could not take was not lost.
        const first = given.findIndex((n, index) => n + given.length - index === count)
        expect(given.length - first).toBeGreaterThan(1000)
      }).pipe(withBroker({ backends: { outboxSize: 1_048_576 } })))

    it.effect("a worker that says QT hears QT, all that it can see of the end", () =>
      Effect.gen(function*() {
        const self = yield* worker(zmq)
        yield* trigger(event(1))
        yield* self.say("QT")
        expect(yield* self.next).toEqual(["TR", event(1)])
        expect(yield* self.next).toEqual(["QT"])
        expect((yield* lobby).workers).toEqual([])
      }).pipe(withBroker()))

    it.effect("a worker that says RD again on its socket goes on", () =>
      Effect.gen(function*() {
        const self = yield* worker(zmq)
        yield* self.say("RD")
        expect(yield* self.next).toEqual(["HB"])
        yield* trigger(event(1))
        expect(yield* self.next).toEqual(["TR", event(1)])
        expect((yield* lobby).workers.length).toBe(1)
      }).pipe(withBroker()))
  })

  describe("over TCP", () => {
    const connection = Effect.flatMap(TestBroker, ({ broker }) => RawTcp.connect(broker.tcpPort))

    it.effect("gives the original Client what the original gave, byte for byte, and closes as it did", () =>
      Effect.gen(function*() {
        const exchange = readFileSync(new URL("../../fixtures/original-client-exchange.jsonl", import.meta.url), "utf8")
          .trim().split("\n").map((line) => JSON.parse(line) as Recorded)
        for (const number of new Set(exchange.map(({ connection }) => connection))) {
          const lines = exchange.filter(({ connection }) => connection === number)
          const said = lines.filter(({ from }) => from === "client").map(({ bytes }) => bytes).join("")
          const answered = lines.filter(({ from }) => from === "server").map(({ bytes }) => bytes ?? "").join("")
          const client = yield* connection
          yield* client.send(Buffer.from(said, "latin1"))
          expect(masked(yield* client.rest)).toBe(masked(Buffer.from(answered, "latin1").toString()))
          expect([lines.at(-1)!.closed, yield* client.ended]).toEqual([true, undefined])
        }
      }).pipe(withBroker({ vhosts: [{ path: "/test", token: originalToken }] })))

    it.effect("gives the original Worker what the original gave, at the same times", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const exchange = readFileSync(new URL("../../fixtures/original-worker-exchange.jsonl", import.meta.url), "utf8")
          .trim().split("\n").map((line) => JSON.parse(line) as Recorded)
        for (const number of new Set(exchange.map(({ connection }) => connection))) {
          const lines = exchange.filter(({ connection }) => connection === number)
          const self = yield* connection
          /** Our broker says HB more often: a worker that waits at most 2 s for something to read stays. */
          const nextBut = (expected: string): Effect.Effect<string, Cause.Done> =>
            Effect.flatMap(
              self.next,
              (message) =>
                message.startsWith("HB") && message !== expected ? nextBut(expected) : Effect.succeed(message)
            )
          let now = 0
          for (const { bytes, closed, from, ms } of lines) {
            yield* TestClock.adjust(ms - now)
            now = ms
            if (closed === true) {
              // It counts from the last that it heard, which may be half a heartbeat later.
              yield* TestClock.adjust("500 millis")
              expect(yield* self.rest).toMatch(/^(HB\n\n\r\n\r\n)*QT\n\n\r\n\r\n$/)
            } else if (from === "client") {
              yield* self.send(Buffer.from(bytes, "latin1"))
            } else {
              if (bytes.startsWith("TR")) yield* vhost.lobby.enqueue(bytes.split("\n")[1]!)
              expect(yield* nextBut(bytes)).toBe(bytes)
            }
          }
          // The last one says QT, to which there is nothing to say but the end.
          if (lines.at(-1)!.closed !== true) expect(yield* self.rest).toBe("")
        }
      }).pipe(withBroker({ vhosts: [{ path: "/test", token: originalToken }] })))

    it.effect("a Client's connection is closed after one answer, and what comes behind it is not carried out", () =>
      Effect.gen(function*() {
        const { vhost } = yield* TestBroker
        const client = yield* connection
        const who = identity("req")
        yield* client.send(
          RawTcp.message(who, "", "OC", "first") + RawTcp.message(who, "", "OC", "second") +
            RawTcp.message("OC", "third")
        )
        expect(yield* client.rest).toBe("OK\n\n\r\n\r\n")
        expect((yield* vhost.channels.list).map(({ name }) => name)).not.toContain("second")
        expect((yield* vhost.channels.list).map(({ name }) => name)).not.toContain("third")
      }).pipe(withBroker()))

    it.effect("however the bytes are cut, the answer is the same", () =>
      Effect.gen(function*() {
        const client = yield* connection
        for (const byte of Buffer.from(RawTcp.message(identity("req"), "", "BC", "room", "ż🚀", `{"a":"ż🚀"}`))) {
          yield* client.send(Buffer.from([byte]))
        }
        expect(yield* client.rest).toBe("OK\n\n\r\n\r\n")
      }).pipe(withBroker()))

    it.effect("a worker says its identity once, or every time", () =>
      Effect.gen(function*() {
        const self = yield* connection
        const who = identity("dlr")
        yield* self.send(RawTcp.message(who, "", "RD"))
        yield* self.next
        // The first is not answered again.
        yield* self.send(RawTcp.message("HB"))
        for (const message of [RawTcp.message("HB"), RawTcp.message(who, "", "HB"), RawTcp.message("HB", "")]) {
          yield* self.send(message)
          expect(yield* self.next).toBe("HB\n\n\r\n\r\n")
        }
      }).pipe(withBroker()))

    it.effect.each<[string, string]>([
      ["no identity", RawTcp.message("OC", "room")],
      ["an identity and nothing else", RawTcp.message(identity("req"), "")],
      ["an identity without the empty frame", RawTcp.message(identity("req"), "OC", "room")],
      ["nothing at all", "\r\n\r\n"],
      ["only empty frames", RawTcp.message("", "", "", "")],
      ["only line breaks", "\n".repeat(100) + "\r\n\r\n"],
      ["another protocol", "GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\n"]
    ])("is answered with an error and closed for %s", ([_, message]) =>
      Effect.gen(function*() {
        const client = yield* connection
        yield* client.send(message)
        expect(yield* client.rest).toMatch(/^ER\n40[02]\n\r\n\r\n$/)
        yield* stillServes
      }).pipe(withBroker()))

    it.effect("random bytes end in an error or in nothing, and harm nobody", () =>
      Effect.gen(function*() {
        const other = yield* worker(tcp)
        for (let n = 0; n < 30; n++) {
          const junk = yield* connection
          yield* junk.send(Buffer.concat([randomBytes(50 * n), Buffer.from(n % 2 === 0 ? "\n\r\n\r\n" : "")]))
          junk.socket.end()
          expect(yield* junk.rest).toMatch(/^(ER\n40[02]\n\r\n\r\n)?$/)
        }
        yield* trigger(event(1))
        expect(yield* other.next).toEqual(["TR", event(1)])
        yield* stillServes
      }).pipe(withBroker()))

    it.effect("a message of the bound's size is read; beyond it the answer is ER 400, or 402 without an identity", () =>
      Effect.gen(function*() {
        const other = yield* worker(tcp)
        const sized = (size: number) => {
          const empty = RawTcp.message(identity("req"), "", "BC", "room", "e", "").length
          return RawTcp.message(identity("req"), "", "BC", "room", "e", "x".repeat(size - empty))
        }
        const fits = yield* connection
        yield* fits.send(sized(2000))
        expect(yield* fits.rest).toBe("OK\n\n\r\n\r\n")
        const unidentified = ["x".repeat(2001), "\n".repeat(2001)]
        for (
          const [message, code] of [
            [sized(2001), 400],
            ...unidentified.map((text) => [text, 402] as const)
          ] as const
        ) {
          const large = yield* connection
          yield* large.send(message)
          expect(yield* large.rest).toBe(`ER\n${code}\n\r\n\r\n`)
        }
        yield* trigger(event(1))
        expect(yield* other.next).toEqual(["TR", event(1)])
        yield* stillServes
      }).pipe(withBroker({ maxMessageSize: 2000 })))

    it.effect("a flood without an end is cut off", () =>
      Effect.gen(function*() {
        const flood = yield* connection
        let written = 0
        const megabyte = Buffer.alloc(1_048_576, "x")
        for (; written < 64 && flood.socket.writable; written++) yield* flood.send(megabyte)
        yield* flood.ended
        expect(written).toBeLessThan(64)
        yield* stillServes
      }).pipe(withBroker({ maxMessageSize: 2000 })))

    it.effect("a worker that says too much is answered with ER 400, closed and forgotten", () =>
      Effect.gen(function*() {
        const self = yield* tcp(identity("dlr"))
        yield* self.say("RD")
        expect(yield* self.next).toEqual(["HB"])
        yield* self.say("x".repeat(3000))
        expect(yield* self.next).toEqual(["ER", "400"])
        yield* self.connection.ended
        yield* eventually(lobby, ({ workers }) => workers.length === 0)
      }).pipe(withBroker({ maxMessageSize: 2000 })))

    it.effect.each<[string, string]>([
      ["its identity", identity("req").slice(0, 20)],
      ["its command", `${identity("req")}\n\nO`],
      ["its end", `${identity("req")}\n\nOC\nnever\n\r\n\r`]
    ])(
      "a peer that goes in the middle of %s is forgotten, and nothing is carried out",
      ([_, bytes]) =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const [ends, cuts] = [yield* connection, yield* connection]
          yield* ends.send(bytes)
          ends.socket.end()
          expect(yield* ends.rest).toMatch(/^(ER\n(400|598)\n\r\n\r\n)?$/)
          yield* cuts.send(bytes)
          cuts.socket.resetAndDestroy()
          yield* stillServes
          expect((yield* vhost.channels.list).map(({ name }) => name)).not.toContain("never")
        }).pipe(withBroker())
    )

    it.effect("a peer that says nothing, or nothing whole, is closed after five seconds", () =>
      Effect.gen(function*() {
        const [silent, slow] = [yield* connection, yield* connection]
        yield* slow.send(`${identity("req")}\n\n`)
        // Connections are accepted in their order: when a later one is answered, these are the broker's.
        yield* stillServes
        yield* TestClock.adjust("4 seconds")
        yield* slow.send("OC\n")
        yield* stillServes
        yield* TestClock.adjust("999 millis")
        yield* stillServes
        expect([yield* silent.hasEnded, yield* slow.hasEnded]).toEqual([false, false])
        yield* TestClock.adjust("1 millis")
        expect([yield* silent.rest, yield* slow.rest]).toEqual(["", ""])
      }).pipe(withBroker()))

    it.effect("a worker whose connection drops is gone at once, and its events wait for the next", () =>
      Effect.gen(function*() {
        for (const how of ["end", "reset"]) {
          const self = yield* tcp(identity("dlr"))
          yield* self.say("RD")
          yield* self.next
          expect((yield* lobby).workers.length).toBe(1)
          if (how === "end") self.connection.socket.end()
          else self.connection.socket.resetAndDestroy()
          // The clock stands still: it cannot have expired.
          yield* eventually(lobby, ({ workers }) => workers.length === 0)
        }
        yield* trigger(event(1))
        const next = yield* worker(tcp)
        expect(yield* next.next).toEqual(["TR", event(1)])
      }).pipe(withBroker()))

    it.effect.each<["end" | "reset" | "nonsense"]>([["end"], ["reset"], ["nonsense"]])(
      "a worker that acknowledges has what it has in hand go to the others at once when its connection is lost: %s",
      ([how]) =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const self = yield* tcp(identity("dlr"))
          yield* self.say("RD", "ack", "2", "{}")
          yield* self.next
          for (const n of [1, 2, 3]) yield* trigger(event(n))
          const ids = [yield* delivery(self, event(1), 1), yield* delivery(self, event(2), 1)]
          const next = yield* acknowledging(tcp, 10)
          yield* delivery(next, event(3), 1)
          if (how === "end") self.connection.socket.end()
          else if (how === "reset") self.connection.socket.resetAndDestroy()
          else yield* self.say("AK")
          // The clock stands still: it cannot have expired.
          expect([yield* delivery(next, event(1), 2), yield* delivery(next, event(2), 2)]).toEqual(ids)
          expect((yield* lobby).workers.length).toBe(1)
          yield* next.say("AK", ...ids)
          yield* eventually(Effect.sync(() => vhost.lobby.counters), ({ acknowledged }) => acknowledged === 2)
        }).pipe(withBroker())
    )

    it.effect("a worker that left, expired or was refused is closed by the broker", () =>
      Effect.gen(function*() {
        const [left, expired, refused] = [yield* tcp(identity("dlr")), yield* tcp(identity("dlr")), yield* tcp("x")]
        yield* left.say("RD")
        yield* left.next
        yield* left.say("QT")
        yield* left.connection.ended
        yield* refused.say("RD")
        yield* refused.connection.ended
        yield* expired.say("RD")
        yield* expired.next
        yield* TestClock.adjust("2 seconds")
        expect(yield* expired.connection.rest).toMatch(/QT\n\n\r\n\r\n$/)
      }).pipe(withBroker()))

    it.effect("a worker that does not read costs no more than its outbox, and delays nobody", () =>
      Effect.gen(function*() {
        const { of } = yield* BrokerSide.watch
        const deaf = yield* tcp(identity("dlr"))
        yield* deaf.say("RD")
        yield* deaf.next
        yield* deaf.say("HB")
        deaf.connection.socket.pause()
        const kept = of(deaf.connection.socket)
        const given = yield* numbersGiven(yield* worker(tcp))
        const text = "x".repeat(500_000)
        for (let n = 0; n < 80; n++) {
          yield* trigger(`{"e":{"n":${n},"text":"${text}"}}`)
          expect(kept.writableLength).toBeLessThan(4 * 1_048_576 + text.length + 100)
          yield* turn
        }
        // At first every second one is its, in the end none.
        yield* eventually(Effect.sync(() => given.at(-1)), (last) => last === 79)
        expect(given.slice(-20)).toEqual(Array.from({ length: 20 }, (_, index) => 60 + index))
        expect((yield* lobby).queued).toBe(0)
        // What the broker still has of the rest is given to the other when the connection ends.
        const before = given.length
        deaf.connection.socket.resetAndDestroy()
        yield* eventually(lobby, ({ workers }) => workers.length === 1)
        yield* trigger(event(80))
        yield* eventually(Effect.sync(() => given.at(-1)), (last) => last === 80)
        expect(given.length - before).toBeGreaterThan(4 * 1_048_576 / text.length)
        expect(new Set(given).size).toBe(given.length)
      }).pipe(withBroker({ backends: { outboxSize: 4 * 1_048_576 } })))

    it.effect("a worker that is sent away gets what was sent to it before, if it reads", () =>
      Effect.gen(function*() {
        const vhosts = yield* Vhosts.Vhosts
        const { of } = yield* BrokerSide.watch
        const slow = yield* tcp(identity("dlr"))
        yield* slow.say("RD")
        yield* slow.next
        yield* slow.say("HB")
        slow.connection.socket.pause()
        const kept = of(slow.connection.socket)
        const text = "x".repeat(500_000)
        const json = (n: number) => `{"e":{"n":${n},"text":"${text}"}}`
        let sent = 0
        for (; sent < 40 && kept.writableLength < 2_000_000; sent++) {
          yield* trigger(json(sent))
          yield* turn
        }
        expect(kept.writableLength).toBeGreaterThan(1_000_000)
        yield* vhosts.remove("/test")
        slow.connection.socket.resume()
        for (let n = 0; n < sent; n++) expect((yield* slow.next)[1] === json(n)).toBe(true)
        expect(yield* slow.connection.rest).toBe("QT\n\n\r\n\r\n")
      }).pipe(withBroker()))

    it.effect("a worker that expires without having read is cut off, and its events go to the others", () =>
      Effect.gen(function*() {
        const { of } = yield* BrokerSide.watch
        const deaf = yield* tcp(identity("dlr"))
        yield* deaf.say("RD")
        yield* deaf.next
        yield* deaf.say("HB")
        deaf.connection.socket.pause()
        const kept = of(deaf.connection.socket)
        const text = "x".repeat(500_000)
        for (let n = 0; n < 40 && kept.writableLength < 2_000_000; n++) {
          yield* trigger(`{"e":{"n":${n},"text":"${text}"}}`)
          yield* turn
        }
        const waiting = Math.floor(kept.writableLength / text.length)
        expect(waiting).toBeGreaterThan(1)
        yield* TestClock.adjust("2 seconds")
        expect((yield* lobby).workers).toEqual([])
        // In the time that it takes to be sure that it does not read, by whichever clock.
        const start = performance.now()
        yield* eventually(
          Effect.andThen(TestClock.adjust("100 millis"), Effect.sync(() => kept.destroyed)),
          (destroyed) => destroyed || performance.now() - start > 2000
        )
        expect(kept.destroyed).toBe(true)
        yield* eventually(lobby, (info) => info.queued >= waiting)
      }).pipe(withBroker()))

    describe("where two connections have one identity", () => {
      const twice = Effect.gen(function*() {
        const who = identity("dlr")
        const [old, fresh] = [yield* tcp(who), yield* tcp(who)]
        for (const self of [old, fresh]) {
          yield* self.say("RD")
          expect(yield* self.next).toEqual(["HB"])
          yield* self.say("HB")
        }
        return { old, fresh }
      })

      it.effect("the later has the events, and stays when the earlier ends", () =>
        Effect.gen(function*() {
          const { fresh, old } = yield* twice
          yield* trigger(event(1))
          expect(yield* fresh.next).toEqual(["TR", event(1)])
          old.connection.socket.end()
          yield* old.connection.ended
          yield* stillServes
          yield* trigger(event(2))
          expect(yield* fresh.next).toEqual(["TR", event(2)])
          expect((yield* lobby).workers.length).toBe(1)
        }).pipe(withBroker()))

      it.effect("the later has what the earlier had in hand, and it alone can say what became of it", () =>
        Effect.gen(function*() {
          const { vhost } = yield* TestBroker
          const who = identity("dlr")
          const old = yield* acknowledging(tcp, 2, who)
          yield* trigger(event(1))
          const one = yield* delivery(old, event(1), 1)
          const fresh = yield* acknowledging(tcp, 2, who)
          expect(yield* delivery(fresh, event(1), 2)).toBe(one)
          yield* old.say("AK", one)
          yield* old.say("NK", one, "it failed")
          yield* old.say("HB")
          expect(yield* old.next).toEqual(["QT"])
          expect(vhost.lobby.counters).toMatchObject({ acknowledged: 0, unacknowledged: 1, redelivered: 1 })
          yield* fresh.say("AK", one)
          yield* eventually(Effect.sync(() => vhost.lobby.counters), ({ acknowledged }) => acknowledged === 1)
        }).pipe(withBroker()))

      it.live("the earlier hears QT for its HB: the broker no longer knows that connection", () =>
        Effect.gen(function*() {
          const { old } = yield* twice
          yield* old.say("HB")
          expect(yield* Effect.timeoutOption(old.next, "1 second")).toEqual(Option.some(["QT"]))
        }).pipe(withBroker()))

      it.effect("the earlier says QT for itself alone", () =>
        Effect.gen(function*() {
          const { fresh, old } = yield* twice
          yield* old.say("QT")
          yield* old.connection.ended
          expect((yield* lobby).workers.length).toBe(1)
          yield* trigger(event(1))
          expect(yield* fresh.next).toEqual(["TR", event(1)])
        }).pipe(withBroker()))
    })
  })
})

const originalToken = "b444aa042e176fe65be600a92fc71f926ee71ee6"

/** Without what is random: single access tokens. */
const masked = (text: string) => text.replaceAll(/[0-9a-f]{128}/g, "<128 hexadecimal digits>")

interface Recorded {
  readonly connection: number
  readonly ms: number
  readonly from: "client" | "server"
  readonly bytes: string
  readonly closed?: boolean
}
