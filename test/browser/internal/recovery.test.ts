/**
 * What a browser receives of a channel with history, over lost connections: everything in order and once, or it is told of a gap.
 */
import { it } from "@effect/vitest"
import { Arbitrary } from "effect"
import { beforeEach, describe, expect, it as vitest } from "vitest"
import * as Machine from "../../../src/browser/internal/machine.ts"
import type { Output } from "../../../src/browser/internal/output.ts"
import { costly, int, pick } from "../../protocol/arbitraries.ts"
import { World } from "./world.ts"

let world: World
beforeEach(() => {
  world = new World().retain("room").retain("presence-b")
})

/** What the user is told of a channel: numbers of broadcasts, and gaps. */
const heard = (channel = "room") => world.outputs.splice(0).flatMap((output) => toldOf(output, channel))

const toldOf = (output: Output, channel: string): ReadonlyArray<number | string> =>
  output._tag === "Event" && output.channel === channel
    ? [output.data.n as number]
    : output._tag === "Gap" && output.channel === channel
    ? [output.reason]
    : []

/** What is on its way to the broker. */
const sent = () => (world.socket?.toBroker ?? []).map((text) => JSON.parse(text) as unknown).flat()

const say = (times: number, channel = "room") => Array.from({ length: times }, () => world.broadcast(channel))

/** The backoff is over, and the broker accepts the connection. */
const accept = (version: 0 | 1 = 1) => {
  while (world.socket === undefined) world.pass(100)
  world.accept(version)
}

const reconnect = (version: 0 | 1 = 1) => {
  accept(version)
  world.settle()
}

describe("a browser that comes back", () => {
  const subscribe = (options: object = {}) => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: "room", ...options })
    world.settle()
  }

  vitest("receives what it has missed, and then what comes", () => {
    subscribe()
    const live = say(2)
    world.settle()
    world.drop(1006)
    const missed = say(2)
    world.broadcast("room", "sid-1")
    reconnect()
    const later = say(1)
    world.settle()
    expect(heard()).toEqual([...live, ...missed, ...later])
  })

  vitest("receives much in parts, and is subscribed with the last one", () => {
    subscribe()
    world.drop(1006)
    const missed = say(8)
    world.outputs.length = 0
    reconnect()
    const states = world.outputs.flatMap((output) =>
      output._tag === "Subscription" ? [output.state._tag] : output._tag === "Event" ? ["event"] : []
    )
    expect(states).toEqual([...missed.slice(2).map(() => "event"), "Subscribed", "event", "event"])
    expect(heard()).toEqual(missed)
  })

  vitest("goes on where a connection ended, also within a part", () => {
    subscribe()
    world.drop(1006)
    const missed = say(8)
    accept()
    for (let turn = 0; turn < 3; turn++) {
      while (world.process());
      world.deliver()
    }
    world.drop(1006)
    const more = say(1)
    reconnect()
    expect(heard()).toEqual([...missed, ...more])
  })

  describe("if the broker subscribes it by itself", () => {
    const channel = "presence-b"
    beforeEach(() => {
      world.granted = [channel]
    })
    /** A connection ends when its `received` first messages have arrived, a part among them. */
    const interrupt = (received: number, happens: () => void = () => {}) => {
      accept()
      world.deliver()
      world.token("good")
      world.process()
      world.deliver()
      happens()
      while (world.process());
      for (let n = 0; n < received; n++) world.deliver()
      world.drop(1006)
    }
    /** The connection after it receives a broadcast before its own `subscribe` is read. */
    const comeBack = () => {
      accept()
      world.deliver()
      world.token("good")
      world.process()
      const later = say(1, channel)
      world.settle()
      return later
    }

    vitest("takes nothing for the rest of a part that a lost connection had begun", () => {
      world.connected()
      world.give({ _tag: "Subscribe", channel })
      world.settle()
      world.drop(1006)
      let missed: ReadonlyArray<number> = []
      interrupt(4, () => {
        missed = say(2, channel)
      })
      expect(heard(channel)).toEqual([])
      const later = comeBack()
      expect(heard(channel)).toEqual([...missed, ...later])
    })

    vitest("still begins with the last broadcasts if the connection ended before they arrived", () => {
      const last = say(2, channel)
      world.give({ _tag: "Connect" })
      world.give({ _tag: "Subscribe", channel, rewind: 4 })
      interrupt(2)
      expect(heard(channel)).toEqual([])
      const later = comeBack()
      expect(heard(channel)).toEqual([...last, ...later])
    })
  })

  vitest("leaves out what was for others on the connection that it had", () => {
    subscribe()
    world.drop(1006)
    const missed = say(3)
    world.broadcast("room", "sid-1")
    missed.push(...say(3))
    reconnect()
    expect(heard()).toEqual(missed)
  })

  vitest.each([
    ["epoch", () => world.restart()],
    ["dropped", () => {
      world.drop(1006)
      say(20)
    }],
    ["closed", () => {
      world.drop(1006)
      say(1)
      world.retain("room")
    }]
  ])("is told of a gap: %s", (reason, happens) => {
    subscribe()
    world.drop(1006)
    happens()
    reconnect()
    const later = say(2)
    world.settle()
    expect(heard()).toEqual([reason, ...later])
  })

  vitest("is told of a gap by a broker that has no history any more, or is too old for it", () => {
    subscribe()
    world.drop(1006)
    world.histories.delete("room")
    reconnect()
    expect(heard()).toEqual(["epoch"])
    world.retain("room").drop(1006)
    reconnect()
    expect(heard()).toEqual([])
    world.drop(1006)
    reconnect(0)
    expect(heard()).toEqual(["epoch"])
    // There is nothing to compare with.
    world.drop(1006)
    reconnect()
    expect(heard()).toEqual([])
  })

  vitest("ignores what it has received before", () => {
    subscribe()
    const [first = 0] = say(1)
    world.settle()
    world.give({
      _tag: "Message",
      connection: world.socket!.connection,
      message: { said: { n: first, channel: "room" }, ":at": world.head }
    })
    expect(heard()).toEqual([first])
  })

  vitest("begins after a cursor, or with the last broadcasts", () => {
    say(2)
    const position = world.head
    const [third] = say(1)
    subscribe({ since: { epoch: world.epoch, position, sid: "another" } })
    expect(heard()).toEqual([third])
    world = new World().retain("room")
    const last = say(5)
    subscribe({ rewind: 4 })
    expect(heard()).toEqual(last.slice(1))
    world.drop(1006)
    reconnect()
    expect(heard()).toEqual([])
  })

  vitest("has a cursor with each event, and when it is subscribed", () => {
    subscribe()
    const position = world.head
    const cursor = { epoch: world.epoch, sid: "sid-1", position }
    expect(Machine.subscriptionState(world.machine, "room")).toEqual({ _tag: "Subscribed", uid: "joe", cursor })
    say(1)
    world.settle()
    expect(world.taken("Event")).toMatchObject([{ cursor: { ...cursor, position: position + 1 } }])
  })

  vitest("forgets where it was when the user leaves", () => {
    subscribe()
    world.give({ _tag: "Unsubscribe", channel: "room" })
    world.settle()
    say(2)
    world.give({ _tag: "Subscribe", channel: "room" })
    expect(sent()).toEqual([{ subscribe: { channel: "room", id: 0 } }])
    world.settle()
    expect(heard()).toEqual([])
  })

  vitest("asks for one part at a time, also if a response was late", () => {
    subscribe()
    world.drop(1006)
    world.outputs.length = 0
    const missed = say(9)
    accept()
    world.deliver()
    world.process()
    // The response is on its way, and the browser gives up waiting for it.
    world.pass(25_000)
    world.settle()
    const asked = world.outputs.filter((output) => output._tag === "Send" && output.text.includes(`"subscribe"`)).length
    expect(heard()).toEqual(missed)
    // What was repeated meanwhile, and one for each part.
    expect(asked).toBeLessThan(10)
  })
})

describe("the inbox of the user", () => {
  beforeEach(() => void world.retain(":user"))
  const subscribe = (options: object = {}) => {
    world.connected()
    world.give({ _tag: "Subscribe", channel: ":user", ...options })
    world.settle()
  }
  const receive = (message: unknown) => world.give({ _tag: "Message", connection: world.socket!.connection, message })

  vitest("is subscribed to by a user, and recovers", () => {
    subscribe()
    const live = say(2, ":user")
    world.settle()
    world.drop(1006)
    const missed = say(7, ":user")
    reconnect()
    const later = say(1, ":user")
    world.settle()
    expect(heard(":user")).toEqual([...live, ...missed, ...later])
  })

  vitest("has nothing of another user: neither what that has missed, nor a gap", () => {
    subscribe()
    say(1, ":user")
    world.settle()
    world.drop(1006)
    say(2, ":user")
    heard(":user")
    world.usual = "other"
    reconnect()
    expect(heard(":user")).toEqual([])
    const later = say(1, ":user")
    world.settle()
    expect(heard(":user")).toEqual(later)
  })

  vitest("begins where the application was, before its page was reloaded", () => {
    const { epoch, head } = world
    const missed = say(2, ":user")
    subscribe({ since: { epoch, position: head, sid: "another" } })
    expect(heard(":user")).toEqual(missed)
  })

  vitest("takes nothing for its own that is none", () => {
    subscribe()
    world.outputs.length = 0
    receive({ said: { n: 1, channel: ":user" } })
    expect(world.taken("Direct")).toEqual([{ _tag: "Direct", event: "said", data: { n: 1, channel: ":user" } }])
    receive({ said: { n: 1, channel: "room" }, ":user": world.head + 1 })
    expect(world.taken("Event")).toMatchObject([{ channel: ":user", data: { channel: "room" } }])
    world.give({ _tag: "Unsubscribe", channel: ":user" })
    world.settle()
    world.outputs.length = 0
    receive({ said: { n: 2 }, ":user": world.head + 2 })
    expect(world.outputs).toEqual([])
  })

  vitest("fails where the broker is too old for it, and where nobody is logged in", () => {
    world.connected(0)
    world.give({ _tag: "Subscribe", channel: ":user" })
    world.settle()
    const failed = (_tag: string) => ({ _tag: "Failed", failure: { _tag }, isRetried: false })
    expect(Machine.subscriptionState(world.machine, ":user")).toMatchObject(failed("UnsupportedError"))
    world.drop(1006)
    reconnect()
    expect(Machine.subscriptionState(world.machine, ":user")._tag).toBe("Subscribed")
    world = new World({ hasToken: false }).connected()
    world.give({ _tag: "Subscribe", channel: ":user" })
    world.settle()
    expect(Machine.subscriptionState(world.machine, ":user")).toMatchObject(failed("UnauthorizedError"))
  })
})

const happening = Arbitrary.all({
  does: pick(
    [
      "say",
      "say",
      "say",
      "sayExcept",
      "sayMuch",
      "drop",
      "dropRead",
      "accept",
      "accept",
      "process",
      "process",
      "deliver",
      "deliver",
      "settle",
      "pass",
      "token",
      "restart",
      "reopen",
      "offer",
      "offer",
      "unsubscribe"
    ] as const
  ),
  which: int(0, 9)
})

describe("a channel with history", () => {
  it.prop("is heard completely, in order and once, or a gap is told, whatever happens", [
    Arbitrary.array(happening, { maxLength: 150 }),
    pick(["room", "presence-b", ":user"] as const),
    pick([undefined, 4]),
    pick([true, false])
  ], ([steps, channel, rewind, isGranted]) => {
    world = new World().retain(channel)
    if (isGranted && channel !== ":user") world.granted = [channel]
    /** What the user should hear, and who does not. */
    const said: Array<{ readonly n: number; readonly exceptSid: string | undefined }> = []
    const say = (except?: string) => {
      // What is sent to a user is for all its browsers.
      const exceptSid = channel === ":user" ? undefined : except
      said.push({ n: world.broadcast(channel, exceptSid), exceptSid })
    }
    const subscribe = () => world.give({ _tag: "Subscribe", channel, rewind })
    const told: Array<number | string> = []
    const listen = () => {
      for (const output of world.outputs.splice(0)) told.push(...toldOf(output, channel))
    }
    world.connected()
    subscribe()
    world.settle()
    listen()
    for (const { does, which } of steps) {
      switch (does) {
        case "say":
          say()
          break
        case "sayExcept":
          say(`sid-${world.machine.connection - (which > 7 ? 1 : 0)}`)
          break
        case "sayMuch":
          for (let n = 0; n < which; n++) say()
          break
        case "dropRead":
          while (world.process());
          for (let n = 0; n < which; n++) world.deliver()
          world.drop(1006)
          break
        case "drop":
          world.drop(1006)
          break
        case "accept":
          accept()
          world.deliver()
          world.token("good")
          break
        case "process":
          world.process()
          break
        case "deliver":
          world.deliver()
          break
        case "settle":
          world.settle()
          break
        case "pass":
          world.pass(which * 1000)
          break
        case "token":
          world.token("good")
          break
        case "restart":
          if (which < 2) world.restart()
          break
        case "reopen":
          if (which < 1) {
            world.socket?.subscriptions.delete(channel)
            world.socket?.toBrowser.push({ ":unsubscribed": { channel } })
            world.retain(channel)
          }
          break
        case "offer":
          if (world.open.has(channel)) world.offer(channel)
          break
        case "unsubscribe":
          // Somebody else on the same page, so that the channel stays wanted.
          subscribe()
          world.give({ _tag: "Unsubscribe", channel })
      }
      listen()
    }
    for (let turn = 0; turn < 10; turn++) {
      reconnect()
      world.pass(5000)
    }
    world.settle()
    listen()
    // After this everybody has heard everything.
    say()
    world.settle()
    listen()

    let last = 0
    let gaps = 0
    let isAfterGap = false
    for (const one of told) {
      if (typeof one === "string") gaps++
      else {
        expect(one, "in order, and once").toBeGreaterThan(last)
        const owed = said.filter(({ exceptSid, n }) => exceptSid === undefined && n > last && n < one)
        if (!isAfterGap) expect(owed, "nothing is left out").toEqual([])
        last = one
      }
      isAfterGap = typeof one === "string"
    }
    expect(last, "the last one").toBe(said.at(-1)!.n)
    expect(gaps, "no gap is told without a reason").toBeLessThanOrEqual(world.losses.length)
  }, costly(120, 150))
})
