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
