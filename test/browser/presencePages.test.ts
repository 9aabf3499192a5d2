/**
 * Two tabs of one user, as another user's page, browsers of either version and a backend see them.
 */
import { Effect, Layer, Redacted } from "effect"
import { expect } from "vitest"
import { EventRouter, Lifecycle } from "../../src/index.ts"
import * as Browser from "../harness/Browser.ts"
import { describeInChromium } from "../harness/chromium.ts"
import { eventually } from "../harness/eventually.ts"
import * as Site from "../harness/site.ts"
import type { World } from "./page/world.ts"

/** In a page's code: the connections of joe. */
const ofJoe = `room.members.find(({ uid }) => uid === "joe")`

/** Keeps every list of members that the page is told of. */
const keepMembers = `
  log.members = []
  room.onMembers((members) => log.members.push(members.map(({ uid }) => uid).join()))
`

/** A browser of this version that has joined; what it receives until the next broadcast. */
const viewer = Effect.fnUntraced(function*({ client, websocketPort }: World, uid: string, query: string) {
  const browser = yield* Browser.connect(`ws://127.0.0.1:${websocketPort}/test${query}`)
  const token = Redacted.value(yield* client.requestSingleAccessToken(uid, ".*"))
  yield* browser.send({ auth: { token } })
  yield* browser.send({ subscribe: { channel: "presence-room", hidden: true } })
  yield* browser.nextOf(":subscribed")
  const until = Effect.gen(function*() {
    const received: Array<unknown> = []
    for (let message = yield* browser.next; !("marker" in message); message = yield* browser.next) {
      received.push(message)
    }
    return received
  })
  return Effect.andThen(client.broadcast("presence-room", "marker"), until)
})

const lifecycle = Effect.fnUntraced(function*({ backend }: World) {
  const events: Array<string> = []
  const handlers = Lifecycle.Members.toLayer({
    memberJoined: ({ uid }) => Effect.sync(() => void events.push(`joined ${uid}`)),
    memberLeft: ({ uid }) => Effect.sync(() => void events.push(`left ${uid}`))
  })
  const router = EventRouter.layer(Lifecycle.Members)
  yield* Layer.build(Layer.provide(router, Layer.merge(handlers, Layer.succeedContext(backend))))
  return events
})

describeInChromium("pages with presence", (it) => {
  it.effect("see no more of a reload than that a connection has moved", () =>
    Effect.gen(function*() {
      // A reload may take long here.
      const site = yield* Site.make({ channelRules: [{ pattern: "presence-.*", grace: "8 seconds" }] })
      const events = yield* lifecycle(site)
      const bob = yield* site.open("bob", keepMembers)
      yield* bob.until(`uids().join() === "bob"`)
      const one = yield* site.open("joe")
      yield* bob.until(`uids().join() === "bob,joe"`)
      const two = yield* site.open("joe")
      yield* bob.until(`${ofJoe}.connections.length === 2`)
      yield* eventually(Effect.sync(() => events.join()), (all) => all === "joined bob,joined joe")
      const [old, current] = [yield* viewer(site, "old", ""), yield* viewer(site, "new", "?v=1")]
      const sid = yield* one.run<string>("connection.state.sid")
      yield* bob.run("log.members.length = 0")

      yield* Effect.promise(() => one.page.reload())
      yield* one.until(`room.state._tag === "Subscribed" && uids().join() === "bob,joe"`)
      const next = yield* one.run<string>("connection.state.sid")
      yield* bob.until(`${ofJoe}.connections[0].sid === "${next}"`)
      const moved = { channel: "presence-room", uid: "joe", from: sid, sid: next }
      expect(yield* current).toEqual([{ ":memberMoved": moved }])
      expect(yield* old).toEqual([])
      expect(yield* bob.run("log.members")).toEqual(["bob,joe"])

      yield* two.run(`room.update({ mood: "good" })`)
      expect(yield* bob.until(`${ofJoe}.data.mood`)).toBe("good")
      yield* Effect.promise(() => one.page.close())
      yield* bob.until(`${ofJoe}.connections.length === 1`)
      expect((yield* site.client.members("presence-room")).map(({ uid }) => uid)).toEqual(["bob", "joe"])
      expect(events).toEqual(["joined bob", "joined joe"])
      yield* two.run("connection.close()")
      yield* bob.until(`uids().join() === "bob"`)
      yield* eventually(Effect.sync(() => events.length), (length) => length === 3)
      expect(events).toEqual(["joined bob", "joined joe", "left joe"])
      expect([...bob.faults, ...one.faults, ...two.faults]).toEqual([])
    }))
})
