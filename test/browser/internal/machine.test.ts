/**
 * The state machine, one promise at a time.
 */
import { beforeEach, describe, expect, it } from "vitest"
import * as Machine from "../../../src/browser/internal/machine.ts"
import { World } from "./world.ts"

let world: World
beforeEach(() => {
  world = new World()
})

const state = () => Machine.connectionState(world.machine)
const subscription = (channel: string) => Machine.subscriptionState(world.machine, channel)
const receive = (message: unknown) => world.give({ _tag: "Message", connection: world.socket!.connection, message })
/** What was sent and not read by the broker yet. */
const sent = () => (world.socket?.toBroker ?? []).map((text) => JSON.parse(text) as unknown).flat()

describe("connecting", () => {
  it("waits a random part of a limit that doubles up to a maximum", () => {
    world.give({ _tag: "Connect" })
    const waits = Array.from({ length: 8 }, () => {
      world.random = 0.999
      world.drop(1006)
      const { until } = state() as { readonly until: number }
      const wait = until - world.now
      world.pass(wait)
      return Math.round(wait / 0.999)
    })
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000])
  })

  it("begins anew after a connection that has lasted", () => {
    const attemptAfter = (lasted: number) => {
      world.pass(lasted)
      world.drop(1006)
      const { attempt } = state() as { readonly attempt: number }
      world.pass(2000)
      world.accept()
      world.settle()
      return attempt
    }
    world.connected()
    expect([attemptAfter(9_000), attemptAfter(9_000), attemptAfter(10_000)]).toEqual([1, 2, 1])
  })

  it("gives up a connection that does not open in time", () => {
    world.give({ _tag: "Connect" })
    world.pass(9_999)
    expect(state()._tag).toBe("Connecting")
    world.pass(1)
    expect(state()).toMatchObject({ _tag: "Waiting", code: 1006 })
    expect(world.socket).toBeUndefined()
  })

  it.each([1000, 1005, 4400, 4403, 4404, 4405, 4499])("stays closed after %i", (code) => {
    world.connected().drop(code, "why")
    expect(state()).toEqual({ _tag: "Closed", code, reason: "why" })
    expect(world.timer).toBe(Infinity)
  })

  it.each([1001, 1006, 1008, 1009, 1011, 1012, 1013, 3000, 4399, 4500, 4501])("comes back after %i", (code) => {
    world.connected().drop(code)
    expect(state()).toMatchObject({ _tag: "Waiting", code })
    world.pass(20_000)
    expect(state()._tag).toBe("Connecting")
  })

  it.each([[0, 0], [0.5, 250], [0.999, 499.5]])(
    "comes back to a broker that has stopped after a random part of half a second: %d",
    (random, wait) => {
      world.connected().pass(10_000)
      world.random = random
      world.drop(1001)
      expect(state()).toMatchObject({ _tag: "Waiting", code: 1001, until: world.now + wait })
    }
  )

  it("comes back sooner by a hint, and not later", () => {
    world.give({ _tag: "Connect" })
    world.random = 0.9
    for (let attempt = 0; attempt < 6; attempt++) {
      world.drop(1006)
      if (attempt < 5) world.pass(20_000)
    }
    const { until } = state() as { readonly until: number }
    world.give({ _tag: "Hint", hint: "offline" })
    expect(state()).toMatchObject({ until })
    world.give({ _tag: "Hint", hint: "online" })
    expect(state()).toMatchObject({ until: world.now + 450 })
    world.random = 0.99
    world.give({ _tag: "Hint", hint: "visible" })
    expect(state()).toMatchObject({ until: world.now + 450 })
  })
})

describe("liveness", () => {
  it("pings after an interval without a message, and gives up after half of one", () => {
    world.connected()
    world.pass(19_999)
    expect(sent()).toEqual([])
    world.pass(1)
    expect(sent()).toEqual([{ ping: {} }])
    world.pass(9_999)
    expect(state()._tag).toBe("Connected")
    world.pass(1)
    expect(state()).toMatchObject({ _tag: "Waiting", code: 1006 })
  })

  it("takes any message for a sign of life", () => {
    world.connected()
    world.pass(20_000)
    receive({ hello: {} })
    world.pass(19_999)
    expect(state()._tag).toBe("Connected")
    expect(sent().length).toBe(1)
  })

  it("gives the broker more time once, if this side was paused", () => {
    world.connected()
    world.pass(20_000)
    world.now += 60_000
    world.give({ _tag: "Timer" })
    expect(state()._tag).toBe("Connected")
    world.now += 60_000
    world.give({ _tag: "Timer" })
    expect(state()._tag).toBe("Waiting")
  })

  it("asks at once after a hint", () => {
    world.connected()
    world.give({ _tag: "Hint", hint: "visible" })
    world.give({ _tag: "Hint", hint: "online" })
    expect(sent()).toEqual([{ ping: {} }])
    world.pass(5000)
    expect(state()._tag).toBe("Waiting")
  })
})

describe("authenticating", () => {
  const start = () => {
    world.give({ _tag: "Connect" })
    world.give({ _tag: "Subscribe", channel: "private-a" })
    world.accept()
    world.deliver()
  }

  it("fetches a second token when the first is rejected, and then fails what waits", () => {
    start()
    const call = world.call({ kind: "trigger" })
    const reject = () => {
      world.token("bad")
      world.process()
      world.deliver()
    }
    reject()
    expect([world.fetches.length, subscription("private-a")._tag]).toEqual([1, "Subscribing"])
    reject()
    expect(subscription("private-a")).toMatchObject({
      _tag: "Failed",
      failure: { _tag: "UnauthorizedError", code: 402 }
    })
    expect(world.results.get(call)).toMatchObject({ failure: { _tag: "UnauthorizedError" } })
    // A good token later helps all the same.
    world.pass(20_000)
    world.settle()
    expect(subscription("private-a")).toEqual({ _tag: "Subscribed", uid: "joe" })
  })

  it("fails what needs a user when nobody is logged in", () => {
    start()
    world.token(undefined)
    expect(subscription("private-a")).toMatchObject({ _tag: "Failed", isRetried: false })
    world.pass(19_000)
    expect(world.fetches).toEqual([])
    // Somebody may have logged in since.
    world.call({ kind: "trigger" })
    world.settle()
    expect(subscription("private-a")._tag).toBe("Subscribed")
  })

  it("gives up a fetch that does not end", () => {
    start()
    world.pass(25_000)
    expect(subscription("private-a")).toMatchObject({ _tag: "Failed", isRetried: true })
  })

  it("sends the client's name to a broker that knows version 1", () => {
    start()
    world.token("good")
    expect(sent()).toEqual([{ auth: { token: "good", client: "client" } }])
  })
})

describe("calls", () => {
  it("are sent again with their ids after a reconnect, and broadcasts are not", () => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "room" })
    world.settle()
    const trigger = world.call({ kind: "trigger" })
    const request = world.call({ kind: "request" })
    const broadcast = world.call({ kind: "broadcast", channel: "room" })
    while (world.process());
    world.drop(1006)
    expect(world.results.get(broadcast)).toMatchObject({ failure: { _tag: "ConnectionLostError" } })
    world.pass(1000)
    world.accept()
    world.settle()
    expect([world.results.get(trigger), world.results.get(request)]).toEqual([
      { _tag: "Success", data: null },
      { _tag: "Success", data: { n: 1 } }
    ])
    expect([...world.executed.values()]).toEqual([1, 1, 1])
  })

  it("are one message if they are made at once, and are sent before the connection is closed", () => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "room" })
    world.settle()
    world.flushesLater = true
    // Also while several messages arrive at once, each of which may be what the next call was waiting for.
    for (let count = 0; count < 3; count++) {
      world.call({ kind: "trigger" })
      receive({ "talk/said": { channel: "room" } })
    }
    expect(sent()).toEqual([])
    world.flush()
    expect(world.socket!.toBroker.splice(0).map((text) => JSON.parse(text))).toEqual([[
      { trigger: { event: "chat/say", id: 1, data: {} } },
      { trigger: { event: "chat/say", id: 2, data: {} } },
      { trigger: { event: "chat/say", id: 3, data: {} } }
    ]])
    world.call({ kind: "trigger" })
    const texts = world.socket!.toBroker
    world.give({ _tag: "Close" })
    expect(texts).toEqual([`{"trigger":{"event":"chat/say","id":4,"data":{}}}`])
  })

  it("update the data of a subscription, also after a reconnect", () => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "room", data: `{"n":1}` })
    const update = world.call({ kind: "update", event: "", channel: "room", data: `{"n":2}` })
    expect(sent()).toMatchObject([{ subscribe: { channel: "room", data: { n: 1 } } }])
    world.process()
    world.deliver()
    expect(sent()).toEqual([{ update: { channel: "room", id: update, data: { n: 2 } } }])
    // It is sent again, after the subscription with the old data.
    world.drop(1006)
    world.pass(1000)
    world.accept()
    world.deliver()
    expect(world.results.size).toBe(0)
    expect(sent().at(-1)).toMatchObject({ subscribe: { data: { n: 1 } } })
    world.settle()
    expect(world.results.get(update)).toEqual({ _tag: "Success", data: null })
    world.drop(1006)
    world.pass(1000)
    world.accept()
    world.deliver()
    expect(sent().at(-1)).toMatchObject({ subscribe: { data: { n: 2 } } })
    world.settle()
    // One that is rejected changes nothing.
    const rejected = world.call({ kind: "update", event: "", channel: "room", data: `{"n":3}` })
    receive({
      ":error": { code: 429, status: "status", reason: "why", id: rejected, event: "update", channel: "room" }
    })
    expect(world.results.get(rejected)).toMatchObject({ failure: { _tag: "TooManyRequestsError" } })
    expect(subscription("room")._tag).toBe("Subscribed")
    world.drop(1006)
    world.pass(1000)
    world.accept()
    world.deliver()
    expect(sent().at(-1)).toMatchObject({ subscribe: { data: { n: 2 } } })
  })

  it("do not update what is not subscribed, and not with an older broker", () => {
    world.connected()
    const without = world.call({ kind: "update", event: "", channel: "room" })
    expect(world.results.get(without)).toMatchObject({ failure: { _tag: "NotSubscribedError" } })
    world = new World()
    world.connected(0)
    world.give({ _tag: "Subscribe", channel: "room" })
    world.settle()
    const old = world.call({ kind: "update", event: "", channel: "room" })
    expect(world.results.get(old)).toMatchObject({ failure: { _tag: "UnsupportedError" } })
  })

  it.each([
    ["a broker that does not remember them", 0, "joe"],
    ["another user", 1, "ann"]
  ])("are not sent again to %s", (_, version, uid) => {
    world.connected()
    const call = world.call({ kind: "trigger" })
    world.drop(1006)
    world.pass(1000)
    world.accept(version as 0 | 1)
    world.deliver()
    world.token("good")
    world.process()
    world.socket!.toBrowser.length = 0
    receive({ ":authenticated": { uid } })
    expect(world.results.get(call)).toMatchObject({ failure: { _tag: "ConnectionLostError" } })
  })

  it("end in time, sent or not", () => {
    const early = world.call({ kind: "trigger", timeout: 100 })
    world.connected()
    const late = world.call({ kind: "request", timeout: 300 })
    expect(sent()).toMatchObject([{ request: { timeout: 300 } }])
    world.pass(100)
    world.settle()
    expect([...world.results.keys()]).toContain(late)
    expect(world.results.get(early)).toMatchObject({ _tag: "Success" })
    const lost = world.call({ kind: "trigger", timeout: 50 })
    world.pass(50)
    expect(world.results.get(lost)).toMatchObject({ failure: { _tag: "RequestTimeoutError" } })
  })

  it("are bounded by their number and their bytes", () => {
    world = new World({ maxCalls: 2, maxCallBytes: 2000 })
    const large = world.call({ kind: "trigger", data: JSON.stringify({ text: "x".repeat(900) }) })
    expect(world.results.get(large)).toMatchObject({ failure: { _tag: "TooManyCallsError" } })
    world.call({ kind: "trigger" })
    world.call({ kind: "trigger" })
    expect(world.results.get(world.call({ kind: "trigger" }))).toMatchObject({ failure: { _tag: "TooManyCallsError" } })
  })

  it.each([
    [457, "NoWorkerError"],
    [458, "HandlerFailedError"],
    [459, "RequestTimeoutError"],
    [597, "InternalError"],
    [429, "TooManyRequestsError"]
  ])("fail by %i as %s", (code, tag) => {
    world.connected()
    const call = world.call({ kind: "request" })
    receive({ ":error": { code, status: "status", reason: "why", id: call, event: "request" } })
    expect(world.results.get(call)).toEqual({ _tag: "Failure", failure: { _tag: tag, code, message: "why" } })
  })

  it("end with the declared error of their handler", () => {
    world.connected()
    const call = world.call({ kind: "request", event: "chat/fail" })
    world.settle()
    expect(world.results.get(call)).toEqual({ _tag: "Declared", error: "no" })
  })

  it("are withdrawn when they are cancelled", () => {
    world.connected()
    const call = world.call({ kind: "request" })
    world.give({ _tag: "Cancel", call })
    expect(sent().at(-1)).toEqual({ cancel: { id: call } })
    expect(world.results.get(call)).toEqual({ _tag: "Cancelled" })
  })

  it("fail if they were too large, and the others go on", () => {
    world.connected()
    const large = world.call({ kind: "trigger", data: JSON.stringify({ text: "x".repeat(1000) }) })
    const small = world.call({ kind: "trigger" })
    world.drop(1009)
    world.pass(1000)
    world.accept()
    world.settle()
    expect(world.results.get(large)).toMatchObject({ failure: { _tag: "MessageTooLargeError", code: 1009 } })
    expect(world.results.get(small)).toMatchObject({ _tag: "Success" })
  })

  it("are sent and forgotten to a broker without versions, which takes no requests", () => {
    world.connected(0)
    expect(world.results.get(world.call({ kind: "trigger" }))).toMatchObject({ _tag: "Success" })
    expect(sent()).toEqual([{ trigger: { event: "chat/say", data: {} } }])
    expect(world.results.get(world.call({ kind: "request" }))).toMatchObject({ failure: { _tag: "UnsupportedError" } })
  })
})

describe("subscribing", () => {
  it("sends all at once after a reconnect", () => {
    for (const channel of ["room", "lobby"]) world.give({ _tag: "Subscribe", channel })
    world.give({ _tag: "Connect" })
    world.accept()
    world.deliver()
    expect(world.socket!.toBroker).toEqual([
      `[{"subscribe":{"channel":"room","id":0}},{"subscribe":{"channel":"lobby","id":0}}]`
    ])
  })

  it("subscribes again to a channel that was closed, once it is open", () => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "room" })
    world.settle()
    world.open.delete("room")
    world.socket!.subscriptions.clear()
    receive({ ":unsubscribed": { channel: "room" } })
    expect(subscription("room")).toMatchObject({ _tag: "Failed", failure: { _tag: "ChannelNotFoundError" } })
    world.open.add("room")
    world.pass(1000)
    world.settle()
    expect(subscription("room")._tag).toBe("Subscribed")
  })

  it("shares a channel until nobody wants it", () => {
    world.connected()
    for (const _ of [1, 2]) world.give({ _tag: "Subscribe", channel: "room" })
    world.settle()
    world.give({ _tag: "Unsubscribe", channel: "room" })
    expect(sent()).toEqual([])
    world.give({ _tag: "Unsubscribe", channel: "room" })
    expect(sent()).toEqual([{ unsubscribe: { channel: "room", id: 0 } }])
  })

  it("tells events of the channel from those for this browser alone", () => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "room" })
    world.settle()
    world.outputs.length = 0
    receive({ said: { channel: "room", text: "a" }, ":at": 17 })
    receive({ news: { channel: "lobby" } })
    expect(world.outputs).toEqual([
      { _tag: "Event", channel: "room", event: "said", data: { channel: "room", text: "a" } },
      { _tag: "Direct", event: "news", data: { channel: "lobby" } }
    ])
  })
})

describe("members", () => {
  const all = () => Machine.members(world.machine, "presence-b")
  const sids = () => all().map(({ connections, uid }) => `${uid} ${connections.map(({ sid }) => sid).join("+")}`)
  const member = (uid: string, sid: string, rest?: object) => ({ channel: "presence-b", uid, sid, data: {}, ...rest })
  const changes = () => world.taken("Members").map(({ change }) => change._tag)

  it("are complete before they are told, whoever joins, moves and leaves meanwhile", () => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "presence-b" })
    world.outputs.length = 0
    const list = [member("ann", "1"), member("bob", "2")]
    receive({
      ":subscribed": { channel: "presence-b", uid: "joe", subscribers: list, truncated: true, count: 5, next: 2 }
    })
    expect(sent().at(-1)).toEqual({ members: { channel: "presence-b", after: 2, id: 2 } })
    receive({ ":memberJoined": member("eve", "5") })
    receive({ ":memberLeft": member("ann", "1") })
    receive({ ":memberUpdated": member("bob", "2", { data: { n: 1 } }) })
    receive({ ":memberMoved": { channel: "presence-b", uid: "bob", from: "2", sid: "6" } })
    receive({ ":memberMoved": { channel: "presence-b", uid: "bob", from: "3", sid: "7" } })
    receive({ ":memberLeft": member("zoe", "4") })
    expect([all(), world.taken("Members")]).toEqual([[], []])
    receive({ ":members": { channel: "presence-b", id: 1, subscribers: list, next: null } })
    const rest = [member("bob", "7", { info: { role: "host" } }), member("eve", "5")]
    receive({ ":members": { channel: "presence-b", id: 2, subscribers: rest, next: null } })
    expect(sids()).toEqual(["bob 6+7", "eve 5"])
    expect(all()[0]).toEqual({
      uid: "bob",
      info: { role: "host" },
      data: {},
      connections: [
        { sid: "6", info: undefined, data: { n: 1 } },
        { sid: "7", info: { role: "host" }, data: {} }
      ]
    })
    receive({ ":memberLeft": member("bob", "7") })
    receive({ ":memberLeft": member("bob", "6") })
    receive({ ":memberJoined": member("ann", "8") })
    expect(sids()).toEqual(["eve 5", "ann 8"])
    expect(changes()).toEqual(["Reset", "Updated", "Left", "Joined"])
  })

  it("change by what is known of them alone", () => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "presence-b" })
    receive({ ":subscribed": { channel: "presence-b", subscribers: [member("ann", "1"), member("bob", "2")] } })
    world.outputs.length = 0
    receive({ ":memberMoved": { channel: "presence-b", uid: "ann", from: "1", sid: "3" } })
    receive({ ":memberUpdated": member("ann", "3", { data: { n: 1 } }) })
    expect([sids(), all()[0]?.data]).toEqual([["ann 3", "bob 2"], { n: 1 }])
    expect(changes()).toEqual(["Updated", "Updated"])
    receive({ ":memberMoved": { channel: "presence-b", uid: "ann", from: "1", sid: "4" } })
    receive({ ":memberMoved": { channel: "presence-b", uid: "eve", from: "3", sid: "4" } })
    receive({ ":memberUpdated": member("ann", "1") })
    receive({ ":memberUpdated": member("eve", "1") })
    receive({ ":memberLeft": member("ann", "1") })
    receive({ ":memberLeft": member("eve", "3") })
    receive({ ":memberJoined": { channel: "presence-b", sid: "9" } })
    expect([sids(), world.taken("Members")]).toEqual([["ann 3", "bob 2"], []])
  })

  it("of an older broker have connections without names, and the data that it sends", () => {
    world.connected(0)
    world.give({ _tag: "Subscribe", channel: "presence-b" })
    const original = (uid: string, n: number) => ({ sid: "no", data: n, channel: "presence-b", uid })
    receive({ ":subscribed": { channel: "presence-b", subscribers: [original("ann", 1), original("ann", 2)] } })
    expect(all()).toMatchObject([
      { uid: "ann", data: original("ann", 2), connections: [{ sid: undefined, data: original("ann", 1) }, {}] }
    ])
    receive({ ":memberLeft": original("ann", 1) })
    expect(all()).toMatchObject([{ uid: "ann", connections: [{ data: original("ann", 2) }] }])
    receive({ ":memberLeft": original("ann", 2) })
    expect(all()).toEqual([])
  })
})
