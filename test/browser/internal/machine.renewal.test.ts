/**
 * An authentication that ends, and is renewed on its connection.
 */
import { beforeEach, describe, expect, it } from "vitest"
import * as Machine from "../../../src/browser/internal/machine.ts"
import { World } from "./world.ts"

let world: World
beforeEach(() => {
  world = new World()
  world.expiresIn = 10_000
})

const state = () => Machine.connectionState(world.machine)
const subscription = (channel: string) => Machine.subscriptionState(world.machine, channel)
const subscribe = (channel: string) => world.give({ _tag: "Subscribe", channel })
/** All that is on its way arrives, but no token is fetched. */
const settleMessages = () => {
  while (world.process() || world.deliver());
}
/** Time passes, and the broker responds to pings. */
const passAlive = (milliseconds: number) => {
  for (let left = milliseconds; left > 0; left -= 5_000) {
    world.pass(Math.min(left, 5_000))
    settleMessages()
  }
}
/** Connects as a user of whom everything has arrived. */
const connectAs = (token: string) => {
  world.give({ _tag: "Connect" })
  world.accept()
  settleMessages()
  world.token(token)
  settleMessages()
}
/** 80 % of the time have passed, and this is the response to the fetch. */
const renewWith = (token: Parameters<World["token"]>[0]) => {
  world.pass(8_000)
  world.token(token)
}

describe("a stateless token", () => {
  const authed = (token: unknown) => {
    world.give({ _tag: "Connect" })
    world.accept()
    settleMessages()
    world.give({ _tag: "TokenFetched", fetch: world.machine.authentication.fetch, token: token as string })
    return world.socket!.toBroker.map((text) => JSON.parse(text) as unknown)
  }

  it("is sent as such, and nothing else that it has", () => {
    expect(authed({ jwt: "a.b.c", token: "other" })).toEqual([{
      auth: { jwt: "a.b.c", client: world.machine.options.client }
    }])
  })

  it.each([null, "", undefined, { jwt: "" }])("is none if it is %j", (token) => {
    expect(authed(token)).toEqual([])
    expect(state()).toMatchObject({ _tag: "Connected", isAuthenticated: false })
  })
})

describe("an authentication that ends", () => {
  it("is renewed after 80 % of its time, again and again, on the same connection", () => {
    world.connected()
    subscribe("private-a")
    world.settle()
    world.taken("State")
    for (let times = 0; times < 3; times++) {
      world.pass(7_999)
      expect(world.fetches).toEqual([])
      world.pass(1)
      expect(world.fetches.length).toBe(1)
      world.settle()
    }
    expect(world.socket!.endsAt).toBe(world.now + 10_000)
    expect([subscription("private-a")._tag, world.machine.connection]).toEqual(["Subscribed", 1])
    // Nothing has changed for the user.
    expect(world.taken("State")).toEqual([])
  })

  it("holds up nothing while a token is fetched, and calls alone until the broker has responded to it", () => {
    world.connected()
    world.pass(8_000)
    const [trigger, request] = [world.call({ kind: "trigger" }), world.call({ kind: "request" })]
    settleMessages()
    expect([...world.results.keys()]).toEqual([trigger, request])
    world.token("good")
    const held = world.call({ kind: "trigger" })
    subscribe("private-a")
    expect(world.socket!.toBroker.map((text) => Object.keys(JSON.parse(text))[0])).toEqual(["auth", "subscribe"])
    settleMessages()
    expect(world.results.get(held)).toMatchObject({ _tag: "Success" })
  })

  it("executes a call once, whoever is the user when it is sent and when the connection is lost", () => {
    world.connected()
    renewWith("other")
    const call = world.call({ kind: "trigger" })
    while (world.process());
    world.drop(1006)
    world.pass(1_000)
    world.accept()
    world.settle()
    expect(world.results.get(call)).toMatchObject({ _tag: "Success" })
    expect([...world.executed.values()]).toEqual([1])
  })

  it("sends no call again as another user, who may not be known to have made it", () => {
    world.connected()
    const call = world.call({ kind: "trigger" })
    while (world.process());
    world.drop(1006)
    world.pass(1_000)
    world.accept()
    settleMessages()
    world.token("other")
    settleMessages()
    expect(world.results.get(call)).toMatchObject({ failure: { _tag: "ConnectionLostError" } })
    expect([...world.executed.values()]).toEqual([1])
  })

  it("goes on if the token is rejected, and ends if none is good", () => {
    world.connected()
    subscribe("private-a")
    world.settle()
    renewWith("bad")
    settleMessages()
    // The first one may have expired on its way.
    world.token("good")
    settleMessages()
    expect(world.socket!.endsAt).toBe(world.now + 10_000)
    renewWith("bad")
    settleMessages()
    world.token("bad")
    settleMessages()
    const call = world.call({ kind: "trigger" })
    settleMessages()
    expect(world.results.get(call)).toMatchObject({ _tag: "Success" })
    expect([subscription("private-a")._tag, state()]).toMatchObject(["Subscribed", { isAuthenticated: true }])
    world.token({ failure: "the endpoint is down" })
    world.pass(1_999)
    expect(state()._tag).toBe("Connected")
    world.pass(1)
    expect(state()).toMatchObject({ _tag: "Waiting", code: 4501 })
    expect(subscription("private-a")._tag).toBe("Subscribing")
    world.pass(20_000)
    world.accept()
    world.fetches.length = 1
    world.settle()
    world.token("good")
    expect(state()._tag).toBe("Connected")
  })

  it("asks again after a backoff while no token can be fetched", () => {
    world.connected()
    world.expiresIn = 1_000_000
    renewWith("good")
    settleMessages()
    passAlive(800_000)
    for (let times = 0; times < 5; times++) {
      expect(world.fetches.length).toBe(1)
      world.token({ failure: "the endpoint is down" })
      expect(world.fetches.length).toBe(0)
      for (let waited = 0; world.fetches.length === 0; waited += 1_000) {
        expect(waited).toBeLessThan(20_000)
        passAlive(1_000)
      }
    }
    world.token("good")
    settleMessages()
    expect(world.socket!.endsAt).toBe(world.now + 1_000_000)
    expect(world.machine.connection).toBe(1)
  })

  it("is left to end when nobody is logged in any more", () => {
    world.connected()
    renewWith(undefined)
    world.pass(1_999)
    expect([world.fetches.length, state()]).toMatchObject([0, { isAuthenticated: true }])
    world.pass(1)
    expect(state()).toMatchObject({ _tag: "Waiting", code: 4501 })
    world.pass(1_000)
    world.accept()
    settleMessages()
    world.token(undefined)
    expect(state()).toMatchObject({ _tag: "Connected", isAuthenticated: false })
  })

  it("is of no interest on another connection", () => {
    world.connected()
    world.pass(7_000)
    world.drop(1006)
    world.expiresIn = undefined
    world.pass(1_000)
    world.accept()
    world.settle()
    passAlive(100_000)
    expect(world.fetches).toEqual([])
    expect(state()).toMatchObject({ _tag: "Connected", isAuthenticated: true })
  })

  it.each([0, -1, 1, 499, 1e300, Infinity, "5", {}])(
    "has a timer that is neither too short nor too long, if the broker says %j",
    (expiresIn) => {
      world.give({ _tag: "Connect" })
      world.accept()
      settleMessages()
      world.token("good")
      const authenticated = { ":authenticated": { uid: "joe", expiresIn } }
      world.give({ _tag: "Message", connection: 1, message: authenticated })
      const wait = world.machine.authentication.by - world.now
      expect(wait === Infinity || (wait >= 500 && wait <= 2_000_000_000)).toBe(true)
      expect(world.timer).toBeLessThan(Infinity)
    }
  )

  it("is renewed by a response that comes late", () => {
    world.expiresIn = 100_000
    connectAs("good")
    passAlive(80_000)
    world.token("good")
    while (world.process());
    const held = world.call({ kind: "trigger" })
    world.pass(9_999)
    expect([world.socket!.toBroker, world.machine.authentication.phase]).toEqual([[], "sent"])
    world.pass(1)
    expect([world.socket!.toBroker, world.machine.authentication.phase]).toEqual([[], "waiting"])
    expect(world.results.get(held)).toMatchObject({ failure: { _tag: "RequestTimeoutError", wasSent: false } })
    settleMessages()
    passAlive(60_000)
    expect([world.fetches.length, world.machine.authentication.phase]).toEqual([0, "done"])
    passAlive(20_000)
    expect([world.fetches.length, world.machine.connection]).toEqual([1, 1])
  })
})

describe("another token", () => {
  it("ends the subscriptions that it does not allow, and a later one brings them back", () => {
    connectAs("good")
    for (const channel of ["room", "private-a", "presence-b"]) subscribe(channel)
    settleMessages()
    const broadcast = () => {
      const call = world.call({ kind: "broadcast", channel: "private-a" })
      settleMessages()
      return world.results.get(call)
    }
    expect(broadcast()).toMatchObject({ _tag: "Success" })
    renewWith("narrow")
    settleMessages()
    const failure = { _tag: "ForbiddenError", code: 403 }
    expect(subscription("private-a")).toMatchObject({ _tag: "Failed", failure, isRetried: false })
    expect([subscription("room")._tag, subscription("presence-b")._tag]).toEqual(["Subscribed", "Subscribed"])
    expect(broadcast()).toMatchObject({ _tag: "Failure", failure })
    renewWith("narrow")
    settleMessages()
    expect(subscription("private-a")).toMatchObject({ _tag: "Failed", isRetried: false })
    renewWith("good")
    settleMessages()
    expect(subscription("private-a")._tag).toBe("Subscribed")
    expect(broadcast()).toMatchObject({ _tag: "Success" })
    expect(world.machine.connection).toBe(1)
  })

  it("of another user subscribes again, recovers what was missed, and says who the user is", () => {
    world.retain("room")
    connectAs("good")
    for (const channel of ["room", "presence-b"]) subscribe(channel)
    settleMessages()
    world.broadcast("room")
    settleMessages()
    renewWith("other")
    while (world.process());
    const missed = world.broadcast("room")
    world.outputs.length = 0
    settleMessages()
    expect(state()).toMatchObject({ _tag: "Connected", uid: "ann" })
    expect([...world.socket!.subscriptions].toSorted()).toEqual(["presence-b", "room"])
    expect([subscription("room")._tag, subscription("presence-b")]).toMatchObject([
      "Subscribed",
      { _tag: "Subscribed", uid: "ann" }
    ])
    const outputs = [...world.outputs]
    expect(outputs.filter(({ _tag }) => _tag === "Event")).toMatchObject([{ data: { n: missed } }])
    expect(outputs.filter(({ _tag }) => _tag === "Gap")).toEqual([])
  })

  it("of another user ends the requests that wait for their responses", () => {
    connectAs("good")
    const request = world.call({ kind: "request" })
    world.socket!.toBroker.length = 0
    world.pass(8_000)
    world.token("other")
    settleMessages()
    expect(world.results.get(request)).toMatchObject({ failure: { _tag: "ConnectionLostError" } })
  })
})
