import { describe, expect, it, vi } from "@effect/vitest"
import { Effect, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as JsonText from "../../../src/protocol/JsonText.ts"
import { decide } from "../../../src/server/engine/internal/decisions.ts"
import { RemoteBrowser } from "../../../src/server/engine/internal/remoteBrowser.ts"
import type { Intent } from "../../../src/server/engine/Log.ts"
import * as FakeBrowser from "../../harness/FakeBrowser.ts"
import {
  contentsOf,
  events,
  hasty,
  join,
  makeNode,
  seconds,
  settled,
  turns,
  two
} from "../../harness/replicatedNode.ts"
import * as SharedLog from "../../harness/sharedLog.ts"
import * as Vhost from "../../harness/vhost.ts"

describe("a log of several nodes", () => {
  it.effect("delivers a broadcast of any node once to the browsers of each, in the same order", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      const [a, b] = [yield* first.connect("joe"), yield* second.connect("ann")]
      yield* first.channels.open("room")
      yield* join(first, "room", a)
      yield* join(second, "room", b, "ann")
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, n) => n),
        (n) => (n % 2 === 0 ? first : second).channels.broadcast("room", "said", { n }),
        { concurrency: "unbounded" }
      )
      yield* settled(first, second)
      const heard = a.received().filter((message) => Object.hasOwn(message as object, "said"))
      expect(heard).toHaveLength(20)
      expect(b.received().filter((message) => Object.hasOwn(message as object, "said"))).toEqual(heard)
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("sends nothing to browsers of other nodes, and writes no message that only they receive", () =>
    Effect.gen(function*() {
      const sent = vi.spyOn(RemoteBrowser.prototype, "sendUnsafe")
      const { first, second } = yield* two
      const a = yield* first.connect("joe")
      yield* first.channels.open("room")
      yield* join(first, "room", a)
      yield* settled(second)
      const intents: ReadonlyArray<Intent> = [
        { _tag: "Broadcast", channel: "room", event: "said", data: JsonText.empty },
        { _tag: "SendTo", sid: a.sid, event: "direct", data: JsonText.empty },
        { _tag: "SendToUser", uid: "joe", event: "news", data: JsonText.empty }
      ]
      for (const intent of intents) yield* second.log.commit(intent)
      yield* settled(first)
      expect(intents.map((intent) => decide(first.state, intent)._tag)).toEqual(["Broadcast", "Sent", "SentToUser"])
      expect(intents.map((intent) => decide(second.state, intent)._tag)).toEqual([
        "BroadcastToNobody",
        "SentElsewhere",
        "SentElsewhere"
      ])
      expect(events(a.received())).toEqual([":subscribed", "said", "direct"])
      expect(sent).not.toHaveBeenCalled()
      sent.mockRestore()
      expect([first, second].map(({ channels }) => channels.counters.deliveries)).toEqual([1, 0])
    }))

  it.effect("appends what is committed in one turn as one entry", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const before = shared.entries().length
      yield* Effect.forEach(["a", "b", "c"], first.channels.open, { concurrency: "unbounded" })
      expect(shared.entries().length).toBe(before + 1)
    }))

  it.effect("rejects at the node that has committed, with the error of the decision", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      expect(yield* Effect.flip(first.channels.broadcast("none", "e", {}))).toMatchObject({ code: 454 })
      expect(yield* Effect.flip(second.channels.open("bad name"))).toMatchObject({ code: 451 })
      expect(yield* Effect.flip(second.browsers.sendTo("nobody", "e", {}))).toMatchObject({
        _tag: "BrowserNotFoundError"
      })
    }))

  it.effect("reads, sends and disconnects from any node", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      const a = yield* first.connect("joe")
      yield* first.channels.open("presence-room")
      yield* join(first, "presence-room", a)
      expect(yield* second.channels.describe("presence-room")).toMatchObject({ subscribers: 1 })
      expect((yield* second.channels.subscribersAfter("presence-room", 0)).items).toHaveLength(1)
      a.received()
      yield* second.browsers.sendTo(a.sid, "direct", {})
      expect(yield* second.browsers.sendToUser("joe", "news", {})).toBe(0)
      expect(yield* second.browsers.subscribe("joe", "presence-room")).toBe(0)
      expect(yield* second.browsers.unsubscribe("joe", "presence-room")).toBe(1)
      expect(yield* second.browsers.disconnect("uid", "joe")).toBe(1)
      yield* settled(first)
      expect(events(a.received())).toEqual(["direct", ":unsubscribed", ":closed"])
      expect(a.closedWith()).toBe(4403)
    }))

  it.effect("finds a channel only after all that was committed before is applied", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.hold()
      yield* Effect.forkChild(first.channels.open("room"))
      yield* turns
      expect(shared.entries().at(-1)).toMatchObject({ node: "00000001" })
      const found = yield* Effect.forkChild(second.channels.describe("room"), { startImmediately: true })
      yield* Effect.yieldNow
      expect(found.pollUnsafe()).toBeUndefined()
      shared.release()
      expect(yield* Fiber.join(found)).toMatchObject({ name: "room" })
    }))

  it.effect("finds all that one entry has opened, though it is applied in turns", () =>
    Effect.gen(function*() {
      const shared = SharedLog.make()
      const first = yield* makeNode(shared, "00000001", { clock: yield* hasty })
      const second = yield* makeNode(shared, "00000002")
      yield* Effect.forEach(Array.from({ length: 200 }), (_, n) => second.channels.open(`room-${n}`), {
        concurrency: "unbounded"
      })
      expect(first.state.channels.size).toBeLessThan(200)
      yield* first.log.barrier
      expect(first.state.channels.size).toBe(200)
    }))

  it.effect("has the limits and rules of the node that has entered last", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const third = yield* makeNode(shared, "00000003", { maxChannels: 1, rules: Vhost.rules() })
      yield* settled(first)
      yield* first.channels.open("a")
      expect(yield* Effect.flip(first.channels.open("b"))).toMatchObject({ code: 597 })
      expect(yield* Effect.flip(first.channels.broadcast("history-a", "e", {}))).toMatchObject({ code: 454 })
      yield* settled(first, third)
      expect(contentsOf(first)).toEqual(contentsOf(third))
    }))

  it.effect("lets the browsers of a node whose lease has ended leave as if each was lost, and emits each event once", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const [a, b] = [yield* first.connect("joe"), yield* second.connect("ann")]
      yield* first.channels.open("presence-room")
      yield* join(first, "presence-room", a)
      yield* join(second, "presence-room", b, "ann")
      b.received()
      shared.endLease("00000001")
      yield* settled(second)
      expect(b.received()).toEqual([])
      expect(second.browsers.count()).toBe(1)
      const due = second.log.nextDue()!
      yield* TestClock.adjust("3 seconds")
      shared.setTime(3000)
      expect(due).toBe(3000)
      yield* second.log.sweep
      expect(events(b.received())).toEqual([":memberLeft"])
      expect(yield* Effect.flip(first.channels.open("late"))).toMatchObject({ code: 597 })
      yield* turns
      expect(shared.emitted().map(({ event }) => event)).toEqual([
        ":lifecycle/browserConnected",
        ":lifecycle/browserConnected",
        ":lifecycle/channelOccupied",
        ":lifecycle/memberJoined",
        ":lifecycle/memberJoined",
        ":lifecycle/browserDisconnected",
        ":lifecycle/memberLeft"
      ])
    }))

  it.effect("ends at once all that waits at a node whose lease is lost", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      const browser = yield* first.connect("joe")
      shared.endLease("00000001")
      // No time passes.
      yield* first.browsers.leave(browser, true)
      expect(yield* Effect.flip(first.channels.open("late"))).toMatchObject({
        detail: expect.stringContaining("this node ends")
      })
    }))

  it.effect("lets a browser leave after a second if its entry does not arrive", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      const browser = yield* first.connect("joe")
      shared.hold()
      const leaving = yield* Effect.forkChild(first.browsers.leave(browser, true))
      yield* turns
      yield* TestClock.adjust("1 second")
      expect(leaving.pollUnsafe()).toBeDefined()
      shared.release()
      yield* settled(second)
      expect(second.browsers.count()).toBe(0)
    }))

  it.effect("loses and doubles no lifecycle event if the node that emits them ends", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      yield* first.connect("joe")
      yield* turns
      shared.failEmits(Infinity)
      yield* first.connect("joe")
      yield* second.connect("joe")
      yield* settled(first, second)
      shared.endLease("00000001")
      shared.failEmits(1)
      yield* settled(second)
      yield* TestClock.adjust("1 second")
      expect(shared.emitted().map(({ data }) => data["sid"])).toEqual([
        "00000001-1",
        "00000001-2",
        "00000002-1",
        "00000001-1",
        "00000001-2"
      ])
    }))

  it.effect("says whether something that could not be appended may be done, and appends what must be again", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.failNext("lost", "doubtful", "lost", "doubtful")
      expect(yield* Effect.flip(first.channels.open("a"))).toMatchObject({
        code: 597,
        detail: expect.stringContaining("nothing was done")
      })
      shared.hold()
      expect(yield* Effect.flip(first.channels.open("b"))).toMatchObject({
        code: 597,
        detail: expect.stringContaining("may have been done")
      })
      shared.release()
      const a = yield* Effect.forkChild(first.connect("joe"), { startImmediately: true })
      yield* seconds
      const browser = yield* Fiber.join(a)
      yield* settled(first, second)
      expect(second.channels.counters.channels).toBe(1)
      expect(second.state.browsers.find("uid", "joe").map(({ sid }) => sid)).toEqual([browser.sid])
      const left = yield* Effect.forkChild(first.browsers.leave(browser, false))
      yield* seconds
      yield* Fiber.join(left)
      yield* settled(second)
      expect(second.browsers.count()).toBe(0)
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("connects and disconnects a browser once if nobody knows whether its entry is there, and it is", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.failNext("doubtful", "lost", "doubtful")
      shared.hold()
      const browser = FakeBrowser.make("00000001-1", undefined, 1)
      first.browsers.enterUnsafe(browser)
      const opened = yield* Effect.forkChild(Effect.flip(first.channels.open("a")), { startImmediately: true })
      const left = yield* Effect.forkChild(first.browsers.leave(browser, false), { startImmediately: true })
      yield* seconds
      yield* Fiber.join(left)
      expect(yield* Fiber.join(opened)).toMatchObject({ detail: expect.stringContaining("may have been done") })
      shared.release()
      yield* first.channels.open("b")
      yield* settled(first, second)
      expect(shared.emitted().map(({ event }) => event)).toEqual([
        ":lifecycle/browserConnected",
        ":lifecycle/browserDisconnected"
      ])
      expect((yield* second.channels.list).map(({ name }) => name)).toEqual(["a", "b"])
      expect(contentsOf(first)).toEqual(contentsOf(second))
    }))

  it.effect("does later what must be, and nothing that failed and waits for it", () =>
    Effect.gen(function*() {
      const { first, second, shared } = yield* two
      shared.failNext("lost", "lost", "lost")
      yield* first.connect()
      const opened = yield* Effect.forkChild(Effect.flip(first.channels.open("a")), { startImmediately: true })
      yield* turns
      const waiting = yield* Effect.forkChild(Effect.flip(first.channels.open("b")), { startImmediately: true })
      yield* seconds
      for (const fiber of [opened, waiting]) {
        expect(yield* Fiber.join(fiber)).toMatchObject({ detail: expect.stringContaining("nothing was done") })
      }
      yield* settled(first, second)
      expect(yield* second.channels.list).toEqual([])
      expect(second.browsers.count()).toBe(1)
    }))

  it.effect("appends nothing of what was interrupted before, and all else", () =>
    Effect.gen(function*() {
      const { first, second } = yield* two
      const opening = yield* Effect.forEach(["a", "b", "c"], (name) =>
        Effect.forkChild(first.channels.open(name), { startImmediately: true }))
      yield* Fiber.interrupt(opening[1]!)
      yield* Fiber.join(opening[0]!)
      yield* Fiber.join(opening[2]!)
      yield* settled(second)
      expect((yield* second.channels.list).map(({ name }) =>
        name
      )).toEqual(["a", "c"])
    }))

  it.effect("fails what is not applied in time, and what waits when the node ends", () =>
    Effect.gen(function*() {
      const { first, shared } = yield* two
      shared.hold()
      const opening = yield* Effect.forkChild(Effect.flip(first.channels.open("a")), { startImmediately: true })
      yield* turns
      const found = yield* Effect.forkChild(Effect.flip(first.channels.describe("b")), { startImmediately: true })
      yield* TestClock.adjust("13 seconds")
      expect(yield* Fiber.join(opening)).toMatchObject({
        code: 597,
        detail: expect.stringContaining("may have been done")
      })
      expect(yield* Fiber.join(found)).toMatchObject({ code: 597 })
      const scope = yield* Scope.make()
      shared.release()
      const third = yield* Effect.provideService(makeNode(shared, "00000003"), Scope.Scope, scope)
      shared.hold()
      const last = yield* Effect.forkChild(Effect.flip(third.channels.open("c")), { startImmediately: true })
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      expect(yield* Fiber.join(last)).toMatchObject({ code: 597 })
    }))

  it.effect("refuses more than can wait", () =>
    Effect.gen(function*() {
      const { first } = yield* two
      const data = { text: "x".repeat(200_000) }
      const sent = yield* Effect.forEach(
        Array.from({ length: 100 }),
        () => Effect.exit(first.browsers.sendToUser("joe", "e", data)),
        { concurrency: "unbounded" }
      )
      expect(sent.filter(({ _tag }) => _tag === "Failure").length).toBeGreaterThan(10)
      expect(sent.filter(({ _tag }) => _tag === "Success").length).toBeGreaterThan(50)
    }))
})
