/**
 * A broker that sends anything: the state machine takes it all, never throws, and neither its timers nor what it holds grow.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Machine from "../../../src/browser/internal/machine.ts"
import * as Nonsense from "./nonsense.ts"
import { World } from "./world.ts"

const hour = 3_600_000

/** A machine that is connected and wants two channels. */
const connected = (): World => {
  const world = new World()
  world.give({ _tag: "Connect" })
  world.accept(1)
  world.settle()
  world.give({ _tag: "Subscribe", channel: "room" })
  world.give({ _tag: "Subscribe", channel: "presence-b" })
  return world
}

const receive = (world: World, message: unknown) =>
  world.give({ _tag: "Message", connection: world.machine.connection, message })

describe("a broker that sends nonsense", () => {
  it("harms nothing", () => {
    for (let seed = 0; seed < 100; seed++) {
      const next = Nonsense.random(seed)
      const machine = Machine.make({ client: "client", hasToken: true })
      let now = 0
      let timer = Infinity
      const give = (input: Parameters<typeof Machine.step>[1]) => {
        const pending = machine.calls.size
        const outputs = Machine.step(machine, input, now, next)
        expect(outputs.length).toBeLessThan(pending + 30)
        for (const output of outputs) {
          if (output._tag === "SetTimer") timer = output.at
          if (output._tag === "ClearTimer") timer = Infinity
          // No platform can wait for longer than 24 days, and waiting for less than now is a busy loop.
          if (output._tag === "SetTimer") expect(output.at).toBeLessThanOrEqual(now + hour)
          if (output._tag === "FetchToken") give({ _tag: "TokenFetched", fetch: output.fetch, token: "token" })
        }
      }
      give({ _tag: "Connect" })
      for (const channel of ["room", "presence-room"]) give({ _tag: "Subscribe", channel })
      for (let turn = 0; turn < 300; turn++) {
        if (next() < 0.1) give({ _tag: "Call", call: turn, kind: "request", event: "e", data: "{}" })
        if (next() < 0.1) give({ _tag: "Hint", hint: "visible" })
        give({ _tag: "Message", connection: machine.connection, message: Nonsense.message(next) })
        now += next() * 100
        if (timer <= now) {
          timer = Infinity
          give({ _tag: "Timer" })
        }
      }
      give({ _tag: "Close" })
      expect([machine.calls.size, machine.callBytes, timer]).toEqual([0, 0, Infinity])
      expect(machine.subscriptions.size).toBe(2)
    }
  })

  it.each([1e300, 1e-9, 0, -1, "1", null])(
    "decides how often it is asked for a sign of life within limits: %s",
    (pingInterval) => {
      const world = new World({ hasToken: false })
      world.give({ _tag: "Connect" })
      receive(world, { ":connected": { sid: "sid", v: 1, pingInterval } })
      const { interval } = world.machine.liveness
      expect(interval).toBeGreaterThanOrEqual(100)
      expect(interval).toBeLessThanOrEqual(hour)
    }
  )

  it("is asked once for a list of members that never ends", () => {
    const world = connected()
    receive(world, { ":authenticated": { uid: "joe" } })
    const sent = (message: object) => receive(world, message).filter(({ _tag }) => _tag === "Send").length
    expect(sent({ ":subscribed": { channel: "presence-b", subscribers: [{ uid: "a" }], next: 7 } })).toBe(1)
    expect(sent({ ":members": { channel: "presence-b", id: 7, subscribers: [{ uid: "b" }], next: 7 } })).toBe(0)
    expect(Machine.members(world.machine, "presence-b").map(({ uid }) => uid)).toEqual(["a", "b"])
  })

  it("is told only so often that a channel is not wanted", () => {
    const world = connected()
    let sent = 0
    for (let n = 0; n < 10_000; n++) {
      sent += receive(world, { ":subscribed": { channel: `room-${n}` } }).filter(({ _tag }) => _tag === "Send").length
    }
    expect(sent).toBeLessThanOrEqual(1000)
  })

  it("sends one error for a batch that is too large", () => {
    const world = connected()
    const errors = receive(world, Array.from({ length: 100_000 }, () => 7)).filter(({ _tag }) => _tag === "Error")
    expect(errors.length).toBe(1)
  })
})
