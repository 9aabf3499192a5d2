/**
 * Channels that the broker subscribes the browser to by itself, and unsubscribes it from.
 */
import { beforeEach, describe, expect, it } from "vitest"
import * as Machine from "../../../src/browser/internal/machine.ts"
import { World } from "./world.ts"

let world: World
beforeEach(() => {
  world = new World()
})

const want = (channel: string, options: object = {}) => {
  world.give({ _tag: "Subscribe", channel, ...options })
  world.settle()
}

const leave = (channel: string) => {
  world.give({ _tag: "Unsubscribe", channel })
  world.settle()
}

const state = (channel: string) => Machine.subscriptionState(world.machine, channel)

const heard = () => world.taken("Event").map(({ data }) => data.n)

const say = (channel: string) => {
  const n = world.broadcast(channel)
  world.settle()
  return n
}

/** The messages that were sent about channels since the last call. */
const sent = () =>
  world.taken("Send").flatMap(({ text }) => [JSON.parse(text)].flat()).map((one) => Object.keys(one)[0]).filter((
    name
  ) => name === "subscribe" || name === "unsubscribe")

const isSubscribed = (channel: string) => world.socket!.subscriptions.has(channel)

const reconnect = () => {
  world.drop(1006)
  while (world.socket === undefined) world.pass(100)
  world.accept()
  world.settle()
}

describe("a channel that the broker subscribes to", () => {
  it("is joined without another message, and stays when nobody wants it any more", () => {
    world.connected()
    world.offer("private-a")
    world.settle()
    say("private-a")
    expect(heard()).toEqual([])
    want("private-a")
    expect(state("private-a")).toEqual({ _tag: "Subscribed", uid: "joe" })
    const first = say("private-a")
    expect(heard()).toEqual([first])
    leave("private-a")
    say("private-a")
    want("private-a")
    const second = say("private-a")
    expect(heard()).toEqual([second])
    expect(sent()).toEqual([])
  })

  it("is told the members, and their changes", () => {
    world.connected()
    world.offer("presence-b")
    world.settle()
    world.give({
      _tag: "Message",
      connection: world.socket!.connection,
      message: { ":memberJoined": { uid: "ann", channel: "presence-b" } }
    })
    expect(world.taken("Members")).toEqual([])
    want("presence-b")
    expect(world.taken("Members")).toMatchObject([{ change: { _tag: "Reset" } }])
    expect(Machine.members(world.machine, "presence-b").map(({ uid }) => uid)).toEqual(["ann"])
  })

  it("is waited for, if the token has it", () => {
    world.granted = ["private-a", "presence-b", "room"]
    world.give({ _tag: "Subscribe", channel: "private-a" })
    world.give({ _tag: "Subscribe", channel: "presence-b", data: "{}" })
    world.connected()
    // Data are for the broker to take, or not.
    expect(sent()).toEqual(["subscribe"])
    expect([state("private-a")._tag, state("presence-b")._tag]).toEqual(["Subscribed", "Subscribed"])
    reconnect()
    expect(state("private-a")._tag).toBe("Subscribed")
    expect(isSubscribed("room")).toBe(true)
  })

  it("is subscribed to as any other, if the broker does not do it in time", () => {
    world.open.delete("private-a")
    world.granted = ["private-a"]
    world.give({ _tag: "Subscribe", channel: "private-a" })
    world.connected()
    expect(state("private-a")).toMatchObject({
      _tag: "Failed",
      failure: { _tag: "ChannelNotFoundError" },
      isRetried: true
    })
    world.open.add("private-a")
    world.isPrompt = true
    world.pass(30_000)
    world.settle()
    expect(state("private-a")._tag).toBe("Subscribed")
  })

  it("recovers what was missed before that, and begins with the last broadcasts if these are wanted", () => {
    world.retain("private-a").granted = ["private-a"]
    const last = [1, 2, 3].map(() => world.broadcast("private-a"))
    world.give({ _tag: "Subscribe", channel: "private-a", rewind: 2 })
    world.connected()
    expect(heard()).toEqual(last.slice(1))
    world.drop(1006)
    const missed = [1, 2, 3, 4, 5, 6, 7].map(() => world.broadcast("private-a"))
    reconnect()
    expect(heard()).toEqual(missed)
    const next = say("private-a")
    expect(heard()).toEqual([next])
  })

  it("begins after a cursor, if it is subscribed to already", () => {
    world.retain("room").connected()
    const { epoch, head } = world
    const before = say("room")
    world.offer("room")
    world.settle()
    const after = say("room")
    heard()
    want("room", { since: { epoch, position: head, sid: "another" } })
    expect(heard()).toEqual([before, after])
  })

  it("does not advance while it is not known what was missed", () => {
    world.retain("room").connected()
    want("room")
    const first = say("room")
    world.drop(1006)
    const second = world.broadcast("room")
    while (world.socket === undefined) world.pass(100)
    world.accept()
    world.deliver()
    world.token("good")
    while (world.process());
    // The response is lost on its way, and the browser gives up waiting.
    world.socket!.toBrowser.splice(0)
    world.pass(10_100)
    const connection = world.socket!.connection
    const message = { said: { n: 0, channel: "room" }, ":at": world.head + 1 }
    world.give({ _tag: "Message", connection, message })
    world.isPrompt = true
    world.pass(30_000)
    world.settle()
    expect(heard()).toEqual([first, second])
  })

  it("is bounded, whatever the broker offers", () => {
    world.connected()
    const connection = world.socket!.connection
    for (let n = 0; n < 5000; n++) {
      world.give({ _tag: "Message", connection, message: { ":subscribed": { channel: `c${n}` } } })
    }
    expect(world.machine.subscriptions.size).toBe(1000)
  })
})

describe("a channel that a backend unsubscribes from", () => {
  it("fails, and is not subscribed to again on this connection", () => {
    world.connected()
    want("room")
    world.revoke("room")
    world.settle()
    world.isPrompt = true
    world.pass(60_000)
    world.settle()
    const failure = { _tag: "ForbiddenError", message: "a backend has unsubscribed this browser", code: 403 }
    expect(state("room")).toEqual({ _tag: "Failed", failure, isRetried: false })
    expect(isSubscribed("room")).toBe(false)
    world.offer("room")
    world.settle()
    expect(state("room")._tag).toBe("Subscribed")
    world.revoke("room")
    world.settle()
    reconnect()
    expect(state("room")._tag).toBe("Subscribed")
  })

  it("is forgotten if nobody wants it", () => {
    world.connected()
    world.offer("room")
    world.settle()
    world.revoke("room")
    world.settle()
    expect(world.machine.subscriptions.size).toBe(0)
  })
})
