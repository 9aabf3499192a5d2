/**
 * The state machine: calls, and what becomes of them.
 */
import { beforeEach, describe, expect, it } from "vitest"
import * as Machine from "../../../src/browser/internal/machine.ts"
import { World } from "./world.ts"

let world: World
beforeEach(() => {
  world = new World()
})

const subscription = (channel: string) => Machine.subscriptionState(world.machine, channel)
const receive = (message: unknown) => world.give({ _tag: "Message", connection: world.socket!.connection, message })
/** What was sent and not read by the broker yet. */
const sent = () => (world.socket?.toBroker ?? []).map((text) => JSON.parse(text) as unknown).flat()

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
