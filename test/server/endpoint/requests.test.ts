import { describe, expect, it } from "@effect/vitest"
import { Effect, Logger, Metric, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { decodeOrigin, type Delivery } from "../../../src/protocol/Trigger.ts"
import type { Lobby } from "../../../src/server/engine/Lobby.ts"
import { enter, makeVhost, type World } from "../../harness/browserSession.ts"
import * as RecordingTracer from "../../harness/recordingTracer.ts"

interface Given {
  readonly event: string
  readonly data: unknown
  readonly origin: ReturnType<typeof decodeOrigin>
  readonly id: string
  readonly attempt: number
}

/** A worker that acks and responds, with what it was given. */
const attend = Effect.fnUntraced(function*({ vhost: { lobby } }: World, options?: {
  readonly id?: string
  readonly prefetch?: number
  readonly responses?: boolean
  readonly maxAttempts?: number
}) {
  const given: Array<Given> = []
  const connection = {}
  const id = options?.id ?? "responder"
  const register = (prefetch: number) =>
    lobby.register({
      id,
      connection,
      lifecycle: false,
      responses: options?.responses ?? true,
      prefetch,
      maxAttempts: options?.maxAttempts ?? 1,
      deliverUnsafe: (json, origin, settled, delivery: Delivery | undefined) => {
        const [[event, data]] = Object.entries(JSON.parse(json) as Record<string, unknown>) as [[string, unknown]]
        given.push({ event, data, origin: decodeOrigin(origin ?? ""), ...delivery! })
        settled(true)
      },
      heartbeatUnsafe: () => {},
      dismiss: Effect.void
    })
  yield* register(options?.prefetch ?? 100)
  return {
    given: () => given.splice(0),
    respond: (delivery: string, json: string, outcome: "ok" | "error" = "ok") =>
      Effect.sync(() => lobby.respondUnsafe(id, connection, delivery, outcome, json)),
    nack: (delivery: string, reason: string) => Effect.sync(() => lobby.nackUnsafe(id, connection, delivery, reason)),
    ack: (delivery: string) => Effect.sync(() => lobby.ackUnsafe(id, connection, [delivery])),
    leave: lobby.leave(id, connection),
    register
  }
})

const error = (code: number, id: string | number) => ({ ":error": { code, id, event: "request" } })

const rename = (id: string | number, more?: object) => ({ event: "chat/rename", data: { to: "b" }, id, ...more })

/** A session of version 1 that has authenticated as joe. */
const enterAs = Effect.fnUntraced(function*(
  world: World,
  sid: string,
  { client, uid = "joe" }: { readonly uid?: string; readonly client?: string } = {}
) {
  const entered = enter(world, sid, 1)
  const authenticate = (uid: string) =>
    Effect.flatMap(world.grant(uid), (token) => entered.send("auth", { token, ...client && { client } }))
  expect(yield* authenticate(uid)).toMatchObject([{ ":authenticated": {} }])
  return { ...entered, authenticateAs: authenticate }
})

const waiting = ({ counters }: Lobby) => [counters.queued, counters.unacknowledged]

describe("a request of a browser", () => {
  it.effect("gets the response of the worker that handled it", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world)
      const browser = yield* enterAs(world, "s")
      expect(yield* browser.send("request", rename(1, { timeout: 2000 }))).toEqual([])
      const [one] = worker.given()
      expect(one).toMatchObject({
        event: "chat/rename",
        data: { to: "b" },
        attempt: 1,
        origin: { sid: "s", uid: "joe", request: 2000 }
      })
      // The data are those of the browser alone.
      expect(one!.data).toStrictEqual({ to: "b" })
      yield* worker.respond(one!.id, `{"was":"a"}`)
      expect(browser.browser.received()).toEqual([{ ":response": { id: 1, data: { was: "a" } } }])
      yield* browser.send("request", rename("two"))
      yield* worker.respond(worker.given()[0]!.id, `{"_tag":"NotAllowed"}`, "error")
      expect(browser.browser.received()).toEqual([{ ":response": { id: "two", error: { _tag: "NotAllowed" } } }])
      // A second response is nobody's.
      yield* worker.respond(one!.id, "2")
      expect([browser.browser.received(), waiting(world.vhost.lobby)]).toEqual([[], [0, 0]])
      expect(world.vhost.lobby.requests.counted).toMatchObject({ ok: 1, error: 1 })
    }))

  it.effect("fails at once if no worker responds, and is not queued", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const browser = yield* enterAs(world, "s")
      yield* attend(world, { responses: false })
      expect(yield* browser.send("request", rename(1))).toMatchObject([{
        ":error": {
          code: 457,
          status: "No worker",
          id: 1,
          event: "request",
          reason: expect.stringContaining("chat/rename")
        }
      }])
      expect(waiting(world.vhost.lobby)).toEqual([0, 0])
      // It may be sent again.
      const worker = yield* attend(world, { id: "other" })
      yield* browser.send("request", rename(1))
      expect(worker.given()).toHaveLength(1)
    }))

  it.effect("needs version 1 and an authenticated browser", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      yield* attend(world)
      const original = enter(world, "a")
      yield* original.authenticate("joe")
      expect(yield* original.send("request", rename(1))).toMatchObject([{ ":error": { code: 400, id: 1 } }])
      expect(yield* original.send("cancel", { id: 1 })).toMatchObject([{ ":error": { code: 400, id: 1 } }])
      expect(yield* enter(world, "b", 1).send("request", rename(1))).toMatchObject([error(403, 1)])
    }))

  it.effect("fails without its reason if its handler does, and is neither retried nor a dead letter", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world, { maxAttempts: 5 })
      const browser = yield* enterAs(world, "s")
      yield* browser.send("request", rename(1))
      yield* worker.nack(worker.given()[0]!.id, "Error: the password is secret")
      const received = browser.browser.received()
      expect(received).toMatchObject([error(458, 1)])
      expect(JSON.stringify(received)).not.toContain("secret")
      expect(world.vhost.lobby.requests.lastFailure()).toContain("secret")
      expect([worker.given(), yield* world.vhost.deadLetters.list]).toEqual([[], []])
      // An ack is no response.
      yield* browser.send("request", rename(2))
      yield* worker.ack(worker.given()[0]!.id)
      expect(browser.browser.received()).toMatchObject([error(458, 2)])
    }))

  it.effect("fails when its deadline passes, whether queued or in flight, and a late response is dropped", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world, { prefetch: 1 })
      const browser = yield* enterAs(world, "s")
      yield* browser.send("request", rename(1, { timeout: 1000 }))
      yield* browser.send("request", rename(2, { timeout: 700 }))
      expect(waiting(world.vhost.lobby)).toEqual([1, 1])
      yield* TestClock.adjust(699)
      expect(browser.browser.received()).toEqual([])
      yield* TestClock.adjust(1)
      yield* world.vhost.lobby.redeliver
      expect([browser.browser.received(), waiting(world.vhost.lobby)]).toMatchObject([[error(459, 2)], [0, 1]])
      yield* TestClock.adjust(300)
      yield* world.vhost.lobby.redeliver
      expect([browser.browser.received(), waiting(world.vhost.lobby)]).toMatchObject([[error(459, 1)], [0, 1]])
      const [late] = worker.given()
      yield* worker.respond(late!.id, "1")
      expect([browser.browser.received(), waiting(world.vhost.lobby)]).toEqual([[], [0, 0]])
      expect(world.vhost.lobby.requests.counted).toMatchObject({ ok: 0, expired: 2 })
    }))

  it.effect("is redelivered if its worker is lost, with the time that is left", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const first = yield* attend(world, { id: "first" })
      const browser = yield* enterAs(world, "s")
      yield* browser.send("request", rename(1, { timeout: 1000 }))
      const [one] = first.given()
      yield* TestClock.adjust(400)
      yield* first.leave
      const second = yield* attend(world, { id: "second" })
      const [again] = second.given()
      expect(again).toMatchObject({ id: one!.id, attempt: 2, origin: { request: 600 } })
      // Nobody waits for it any more when it is lost again.
      yield* TestClock.adjust(600)
      yield* world.vhost.lobby.redeliver
      expect(browser.browser.received()).toMatchObject([error(459, 1)])
      yield* second.leave
      const third = yield* attend(world, { id: "third" })
      expect([third.given(), waiting(world.vhost.lobby)]).toEqual([[], [0, 0]])
    }))

  it.effect("is requeued if it is released", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world)
      const browser = yield* enterAs(world, "s")
      yield* browser.send("request", rename(1))
      yield* worker.nack(worker.given()[0]!.id, "")
      const [again] = worker.given()
      expect(again).toMatchObject({ attempt: 2 })
      yield* worker.respond(again!.id, "null")
      expect(browser.browser.received()).toEqual([{ ":response": { id: 1, data: null } }])
    }))

  it.effect("is cancelled if no worker has begun, and has no response then", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world, { prefetch: 1 })
      const browser = yield* enterAs(world, "s")
      for (const id of [1, 2, 3]) yield* browser.send("request", rename(id))
      for (const id of [1, 2, 7]) expect(yield* browser.send("cancel", { id })).toEqual([])
      expect(waiting(world.vhost.lobby)).toEqual([1, 1])
      yield* worker.respond(worker.given()[0]!.id, "1")
      yield* worker.respond(worker.given()[0]!.id, "3")
      expect(browser.browser.received()).toEqual([{ ":response": { id: 3, data: 3 } }])
      expect([worker.given(), world.vhost.lobby.requests.counted]).toMatchObject([[], { ok: 2, cancelled: 1 }])
    }))

  it.effect("blocks no event, and no event blocks it", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const slow = yield* attend(world, { prefetch: 1 })
      const browser = yield* enterAs(world, "s")
      yield* browser.send("request", rename(1))
      yield* browser.send("request", rename(2))
      const other = yield* attend(world, { id: "events", responses: false })
      yield* browser.send("trigger", { event: "chat/say" })
      expect(other.given()).toMatchObject([{ event: "chat/say" }])
      expect(slow.given()).toHaveLength(1)
    }))

  it.effect("counts towards the limits of its browser until it has a response", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ browsers: { maxRequests: 2, requestSize: 3000 } })
      const worker = yield* attend(world, { prefetch: 1 })
      const browser = yield* enterAs(world, "s")
      const large = { data: { text: "x".repeat(5000) } }
      // One is always accepted.
      expect(yield* browser.send("request", rename(1, large))).toEqual([])
      expect(yield* browser.send("request", rename(2, { data: {} }))).toMatchObject([error(429, 2)])
      yield* worker.respond(worker.given()[0]!.id, "1")
      browser.browser.received()
      for (const id of [3, 4]) expect(yield* browser.send("request", rename(id))).toEqual([])
      expect(yield* browser.send("request", rename(5))).toMatchObject([error(429, 5)])
      // A worker has it, so that a cancelled one counts.
      yield* browser.send("cancel", { id: 3 })
      expect(yield* browser.send("request", rename(5))).toMatchObject([error(429, 5)])
      yield* browser.send("cancel", { id: 4 })
      expect(yield* browser.send("request", rename(5))).toEqual([])
      // Another browser has limits of its own.
      expect(yield* (yield* enterAs(world, "t")).send("request", rename(1))).toEqual([])
    }))

  it.effect("counts towards the limits of its vhost, whose queue of events has others", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ queue: { capacity: 2 } })
      yield* attend(world, { prefetch: 0 })
      const browser = yield* enterAs(world, "s")
      for (const id of [1, 2]) expect(yield* browser.send("request", rename(id))).toEqual([])
      expect(yield* browser.send("request", rename(3))).toMatchObject([error(597, 3)])
      expect(yield* browser.send("trigger", { event: "chat/say", id: 4 })).toEqual([{ ":triggered": { id: 4 } }])
      expect(world.vhost.lobby.requests.counted.refused).toBe(1)
    }))

  it.effect("fails if it is larger than a message may be, or its response is", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ maxMessageSize: 2000 })
      const worker = yield* attend(world)
      const browser = yield* enterAs(world, "s")
      expect(yield* browser.send("request", rename(1, { data: { text: "x".repeat(1700) } }))).toMatchObject([
        error(597, 1)
      ])
      yield* browser.send("request", rename(2))
      yield* worker.respond(worker.given()[0]!.id, JSON.stringify("x".repeat(2300)))
      expect(browser.browser.received()).toMatchObject([error(458, 2)])
    }))

  it.effect("is not queued twice with the same id, and no other one has it meanwhile", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world)
      const browser = yield* enterAs(world, "s")
      for (let times = 0; times < 3; times++) expect(yield* browser.send("request", rename(1))).toEqual([])
      expect(yield* browser.send("request", rename(1, { data: {} }))).toMatchObject([error(400, 1)])
      const [one, ...more] = worker.given()
      expect(more).toEqual([])
      yield* worker.respond(one!.id, "1")
      expect(browser.browser.received()).toEqual([{ ":response": { id: 1, data: 1 } }])
      // Nothing is remembered of a browser that has not named its client.
      yield* browser.send("request", rename(1))
      expect(worker.given()).toHaveLength(1)
    }))

  it.effect("is cancelled if its browser leaves before a worker has begun", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world, { prefetch: 1 })
      const browser = yield* enterAs(world, "s", { client: "c" })
      for (const id of [1, 2]) yield* browser.send("request", rename(id))
      yield* browser.session.end(false)
      expect(waiting(world.vhost.lobby)).toEqual([0, 1])
      yield* worker.respond(worker.given()[0]!.id, "1")
      expect(browser.browser.received()).toEqual([])
      // The first was handled, the second was not.
      const again = yield* enterAs(world, "t", { client: "c" })
      expect(yield* again.send("request", rename(1))).toEqual([{ ":response": { id: 1, data: 1 } }])
      expect(yield* again.send("request", rename(2))).toEqual([])
      expect(worker.given()).toMatchObject([{ attempt: 1, origin: { sid: "t" } }])
    }))

  it.effect("that is sent again after a reconnect gets its response there, once", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world)
      const first = yield* enterAs(world, "s", { client: "c" })
      yield* first.send("request", rename(1))
      // The first connection has not ended yet as far as the broker knows.
      const second = yield* enterAs(world, "t", { client: "c" })
      expect(yield* second.send("request", rename(1))).toEqual([])
      yield* first.session.end(false)
      const [one, ...more] = worker.given()
      expect(more).toEqual([])
      yield* worker.respond(one!.id, "1")
      expect([first.browser.received(), second.browser.received()]).toEqual([[], [{ ":response": { id: 1, data: 1 } }]])
      expect(yield* second.send("request", rename(1))).toEqual([{ ":response": { id: 1, data: 1 } }])
      expect(yield* second.send("request", rename(1, { event: "chat/other" }))).toMatchObject([error(400, 1)])
      // Ids of others are their own.
      for (const other of [{ client: "d" }, { client: "c", uid: "ann" }, {}]) {
        yield* (yield* enterAs(world, "u", other)).send("request", rename(1))
      }
      expect(worker.given()).toHaveLength(3)
      // And for how long that is remembered is limited.
      yield* TestClock.adjust("5 minutes")
      yield* worker.register(100)
      expect(yield* second.send("request", rename(1))).toEqual([])
      expect(worker.given()).toHaveLength(1)
    }))

  it.effect("is one span until its response, and is counted by its outcome", () => {
    const { spans, tracer } = RecordingTracer.make()
    return Effect.gen(function*() {
      const world = yield* makeVhost()
      const browser = yield* enterAs(world, "s")
      yield* browser.send("request", rename(1))
      const worker = yield* attend(world)
      yield* browser.send("request", rename(2))
      yield* browser.send("request", rename(3))
      const [two, three] = worker.given()
      const own = spans.filter(({ name }) => name === "Broker.request")
      expect(own.map(({ kind, parent, status }) => [kind, parent._tag, status._tag])).toEqual([
        ["producer", "None", "Ended"],
        ["producer", "None", "Started"],
        ["producer", "None", "Started"]
      ])
      expect([two, three].map((given) => given!.origin.traceparent)).toEqual(
        own.slice(1).map(({ spanId, traceId }) => `00-${traceId}-${spanId}-01`)
      )
      expect(two!.origin).toMatchObject({ sid: "s", uid: "joe", request: 5000 })
      yield* worker.respond(two!.id, "1")
      yield* worker.nack(three!.id, "Error: no")
      expect(own.map(({ status }) => status._tag === "Ended" && status.exit._tag)).toEqual([
        "Failure",
        "Success",
        "Failure"
      ])
      expect(Object.fromEntries(own[1]!.attributes)).toMatchObject({
        "messaging.operation.name": "request",
        "kosmonaut.event": "chat/rename",
        "kosmonaut.vhost": "/test"
      })
      const counted = (yield* Metric.snapshot).filter(({ id }) => id === "kosmonaut_broker_handled_requests_total")
      expect(Object.fromEntries(counted.map(({ attributes, state }) => [
        attributes?.["outcome"],
        Number((state as { count: number }).count)
      ]))).toEqual({ ok: 1, error: 0, failed: 1, expired: 0, cancelled: 0, no_worker: 1, refused: 0 })
    }).pipe(
      Effect.provideService(Tracer.Tracer, tracer),
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  })

  it.effect("that fails is in the log, with its reason", () => {
    const lines: Array<unknown> = []
    return Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world)
      const browser = yield* enterAs(world, "s")
      for (const id of [1, 2]) yield* browser.send("request", rename(id))
      for (const [n, { id }] of worker.given().entries()) yield* worker.nack(id, `Error: number ${n}`)
      yield* TestClock.adjust("1 second")
      expect(lines).toEqual([["The vhost /test has failed 2 requests, the last because: Error: number 1"]])
    }).pipe(Effect.provide(Logger.layer([Logger.make(({ message }) => void lines.push(message))])))
  })

  it.effect("of a user has no response when the browser authenticates as another", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const worker = yield* attend(world)
      const browser = yield* enterAs(world, "s")
      yield* browser.send("request", rename(1))
      yield* browser.authenticateAs("ann")
      expect(yield* browser.send("request", rename(1))).toMatchObject([error(400, 1)])
      yield* worker.respond(worker.given()[0]!.id, "1")
      expect(browser.browser.received()).toEqual([])
    }))
})

describe("a trigger of a browser", () => {
  it.effect("that is sent again is confirmed again and enqueued once", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const first = yield* enterAs(world, "s", { client: "c" })
      const say = { event: "chat/say", data: { text: "hi" }, id: "x" }
      const confirmed = [{ ":triggered": { id: "x" } }]
      expect(yield* first.send("trigger", say)).toEqual(confirmed)
      yield* first.session.end(false)
      const second = yield* enterAs(world, "t", { client: "c" })
      expect(yield* second.send("trigger", say)).toEqual(confirmed)
      expect(waiting(world.vhost.lobby)).toEqual([1, 0])
      expect(yield* second.send("trigger", { ...say, data: {} })).toMatchObject([{ ":error": { code: 400, id: "x" } }])
      expect(yield* second.send("request", { ...say })).toMatchObject([error(400, "x")])
      // Others, and triggers without an id, are new.
      yield* (yield* enterAs(world, "u")).send("trigger", say)
      for (let times = 0; times < 2; times++) yield* second.send("trigger", { event: "chat/say" })
      expect(waiting(world.vhost.lobby)).toEqual([4, 0])
      yield* TestClock.adjust("5 minutes")
      expect(yield* second.send("trigger", say)).toEqual(confirmed)
      expect(waiting(world.vhost.lobby)).toEqual([5, 0])
    }))

  it.effect("that was refused is not remembered", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost({ queue: { capacity: 1 } })
      const browser = yield* enterAs(world, "s", { client: "c" })
      yield* browser.send("trigger", { event: "chat/say" })
      const say = { event: "chat/say", id: 1 }
      expect(yield* browser.send("trigger", say)).toMatchObject([{ ":error": { code: 597 } }])
      expect(yield* browser.send("trigger", say)).toMatchObject([{ ":error": { code: 597 } }])
      yield* world.attend
      expect(yield* browser.send("trigger", say)).toEqual([{ ":triggered": { id: 1 } }])
    }))

  it.effect("of the original's protocol has no memory", () =>
    Effect.gen(function*() {
      const world = yield* makeVhost()
      const browser = enter(world, "s")
      yield* Effect.flatMap(world.grant("joe"), (token) => browser.send("auth", { token, client: "c" }))
      for (let times = 0; times < 2; times++) yield* browser.send("trigger", { event: "chat/say", id: 1 })
      expect(waiting(world.vhost.lobby)).toEqual([2, 0])
    }))
})
