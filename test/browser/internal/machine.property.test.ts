/**
 * What holds of the state machine whatever happens, in any order.
 */
import { describe, expect, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import * as Machine from "../../../src/browser/internal/machine.ts"
import { costly, int, pick } from "../../protocol/arbitraries.ts"
import { World } from "./world.ts"

const channels = ["room", "lobby", "private-a", "private-x", "presence-b"] as const

const happening = Arbitrary.all({
  does: pick(
    [
      "connect",
      "close",
      "subscribe",
      "subscribe",
      "unsubscribe",
      "call",
      "call",
      "cancel",
      "accept",
      "accept",
      "acceptOld",
      "drop",
      "process",
      "process",
      "deliver",
      "deliver",
      "token",
      "otherToken",
      "badToken",
      "noToken",
      "failedToken",
      "pass",
      "pause",
      "hint",
      "channel",
      "late",
      "garbage",
      "flush",
      "flush",
      "settle",
      "renew",
      "renew",
      "renew",
      "reconnect",
      "reconnect",
      "reconnect"
    ] as const
  ),
  which: int(0, 9),
  random: int(0, 9)
})

type Happening = { readonly does: string; readonly which: number; readonly random: number }

/** How often the user wants each channel. */
type Wanted = Map<string, number>

const happen = (world: World, wanted: Wanted, { does, random, which }: Happening): void => {
  world.random = random / 10
  const channel = channels[which % channels.length]!
  switch (does) {
    case "connect":
      return void world.give({ _tag: "Connect" })
    case "close":
      return void (which < 3 && world.give({ _tag: "Close" }))
    case "subscribe":
      wanted.set(channel, (wanted.get(channel) ?? 0) + 1)
      return void world.give({ _tag: "Subscribe", channel, hidden: which > 5, data: which > 7 ? `{"a":1}` : undefined })
    case "unsubscribe":
      wanted.set(channel, Math.max(0, (wanted.get(channel) ?? 0) - 1))
      return void world.give({ _tag: "Unsubscribe", channel })
    case "call": {
      const kind = (["trigger", "request", "broadcast", "update"] as const)[random % 4]!
      return void world.call({
        kind,
        event: which > 6 ? "chat/fail" : "chat/say",
        channel: kind === "broadcast" || kind === "update" ? channel : undefined,
        ...(which < 3 && { timeout: which * 1000 })
      })
    }
    case "cancel":
      return void world.give({ _tag: "Cancel", call: world.deadlines.size - which })
    case "accept":
      return world.accept(1)
    case "acceptOld":
      return world.accept(0)
    case "drop":
      return world.drop([1006, 1001, 1013, 1009, 1011, 1005, 4403, 4501, 1012, 3000][which]!)
    case "process":
      return void world.process()
    case "deliver":
      return void world.deliver()
    case "token":
      return world.token("good")
    case "otherToken":
      return world.token(which < 5 ? "narrow" : "other")
    case "badToken":
      return world.token("bad")
    case "noToken":
      return world.token(undefined)
    case "failedToken":
      return world.token({ failure: "the endpoint is down" })
    case "pass":
      return world.pass(10 ** (which % 5) * (random + 1))
    case "pause":
      // The whole process stands still: the timer comes late.
      world.flush()
      world.now += 10_000 * which
      if ((world.socket?.endsAt ?? Infinity) <= world.now) world.drop(4501)
      return world.timer <= world.now ? void world.give({ _tag: "Timer" }) : undefined
    case "hint":
      return void world.give({ _tag: "Hint", hint: (["online", "offline", "visible"] as const)[which % 3]! })
    case "channel":
      return toggle(world, channel)
    case "late":
      return late(world, which)
    case "garbage":
      return garbage(world, which)
    case "flush":
      return world.flush()
    case "settle":
      return world.settle()
    case "renew":
      world.pass(0.8 * (world.expiresIn ?? 0))
      return world.token((["good", "narrow", "other", "other"] as const)[which % 4]!)
    case "reconnect":
      return reconnect(world, which)
  }
}

// The broker has read what it does not respond to.
const reconnect = (world: World, which: number): void => {
  if (which < 7) { while (world.process()); }
  world.drop(1006)
  world.pass(1000)
  world.accept(which === 0 ? 0 : 1)
  if (which < 5) {
    world.deliver()
    world.token("good")
  }
}

const toggle = ({ open, socket }: World, channel: string): void => {
  if (!open.delete(channel)) open.add(channel)
  else if (socket?.subscriptions.delete(channel)) socket.toBrowser.push({ ":unsubscribed": { channel } })
}

// Of a connection, a fetch and a timer that are no longer.
const late = (world: World, which: number): void => {
  world.flush()
  const connection = world.machine.connection - 1
  const message = [{ ":connected": { sid: "old", v: 1 } }, { ":authenticated": {} }, {
    ":subscribed": { channel: "room" }
  }][which % 3]
  expect(world.give({ _tag: "Message", connection, message })).toEqual([])
  expect(world.give({ _tag: "Closed", connection, code: 4403, reason: "" })).toEqual([])
  expect(world.give({ _tag: "TokenFetched", fetch: -1, token: "good" })).toEqual([])
}

const garbage = (world: World, which: number): void => {
  const { socket } = world
  if (socket === undefined) return
  const message = [
    undefined,
    null,
    7,
    [],
    [[{}]],
    { ":error": { code: { valueOf: 1 }, status: { toString: 1 }, reason: null, id: {}, channel: [], event: 1 } },
    { ":subscribed": { channel: {} } },
    { ":members": { channel: "presence-b", id: 1, subscribers: [null, 1, {}], next: "x" } },
    { ":memberJoined": { channel: "presence-b", uid: 7 } },
    { "hello": { channel: null } }
  ][which]
  world.give({ _tag: "Message", connection: socket.connection, message })
}

/** Whatever was, from now on everything goes well, on a connection that stays if it can. */
const heal = (world: World, stays: boolean): void => {
  for (const channel of channels) world.open.add(channel)
  world.random = 0.9
  // A broker without versions does not say what an error is about. Without a token nobody tries again by himself.
  const { failure, isRetried } = world.machine.authentication
  if (!stays || world.socket?.version === 0 || (failure && !isRetried)) world.drop(1006)
  world.isPrompt = true
  world.give({ _tag: "Connect" })
  for (let turn = 0; turn < 20; turn++) {
    world.accept(1)
    world.settle()
    world.pass(turn < 5 ? 1000 : 20_000)
  }
  world.settle()
}

describe("machine", () => {
  const happenings = Arbitrary.array(happening, { maxLength: 120 })

  it.prop("converges to what the user wants, ends every call once, and keeps nothing, in any order", [
    happenings,
    pick([3, 1000]),
    pick([true, true, true, false]),
    pick([true, false]),
    pick([undefined, 0, 1, 1, 1]),
    pick([undefined, 5000, 60_000])
  ], ([steps, maxCalls, hasToken, stays, version, expiresIn]) => {
    const world = new World({ maxCalls, hasToken })
    world.flushesLater = true
    world.expiresIn = expiresIn
    const wanted: Wanted = new Map()
    if (version !== undefined) world.connected(version)
    for (const step of steps) happen(world, wanted, step)

    heal(world, stays)
    expect(Machine.connectionState(world.machine)._tag).toBe("Connected")
    const all = [...wanted].filter(([, count]) => count > 0).map(([channel]) => channel)
    const { allows } = world.socket!
    const can = all.filter((channel) => channel !== "private-x" && (!channel.startsWith("p") || allows(channel)))
    if (hasToken && (!stays || expiresIn !== undefined)) expect(allows("private-a")).toBe(true)
    expect([...world.socket!.subscriptions].toSorted()).toEqual(can.toSorted())
    for (const channel of channels) {
      const state = Machine.subscriptionState(world.machine, channel)._tag
      expect([channel, state]).toEqual([
        channel,
        can.includes(channel) ? "Subscribed" : all.includes(channel) ? "Failed" : "Unsubscribed"
      ])
    }
    expect(world.machine.subscriptions.size).toBe(all.length)

    expect(new Set(world.results.keys())).toEqual(new Set(world.deadlines.keys()))
    expect([world.machine.calls.size, world.machine.callBytes]).toEqual([0, 0])
    for (const [call, times] of world.executed) expect([call, times]).toEqual([call, 1])

    // While all goes well an authentication is renewed before it ends.
    const { connection } = world.machine
    world.pass(100_000)
    expect(world.machine.connection).toBe(connection)

    world.give({ _tag: "Close" })
    expect(world.timer).toBe(Infinity)
    expect(world.socket).toBeUndefined()
    world.pass(100_000)
    expect(world.give({ _tag: "Timer" })).toEqual([])
  }, costly(150, 120))
})
