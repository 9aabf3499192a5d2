/**
 * Who is there: users join a presence channel, and their browsers and a backend see it.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Queue, Stream } from "effect"
import { Client, EventRouter, Lifecycle } from "kosmonaut"
import type { Browser } from "kosmonaut/browser"
import { Channel } from "kosmonaut/events"
import * as Local from "./local.ts"

const Room = Channel.make("room", { kind: "presence", events: [] })

/** Reports what happens on presence channels. */
const watching = (news: Queue.Enqueue<string>) =>
  EventRouter.layer(Lifecycle.Members).pipe(
    Layer.provide(Lifecycle.Members.toLayer({
      memberJoined: ({ channel, data, uid }) =>
        Effect.asVoid(Queue.offer(news, `${uid} has joined ${channel}: ${JSON.stringify(data)}`)),
      memberLeft: ({ channel, uid }) => Effect.asVoid(Queue.offer(news, `${uid} has left ${channel}`))
    }))
  )

/** A token with which a user may join the room. */
const tokenFor = Effect.fnUntraced(function*(uid: string) {
  const client = yield* Client.Client
  return yield* client.requestSingleAccessToken({ uid, channels: [Room] })
})

/** Who is there, in the order in which they joined. */
const whoIsThere = Effect.gen(function*() {
  const client = yield* Client.Client
  return (yield* client.members(Room)).map(({ uid }) => uid)
})

/** Joins the room, and gives what the browser sees of it. */
const join = Effect.fnUntraced(function*(browser: Browser.Browser["Service"], name: string) {
  const room = yield* browser.subscribe(Room, { data: { name } })
  return room.members.changes.pipe(
    Stream.map((members) => members.map(({ uid }) => uid).join(" and "))
  )
})

/** Waits until both are there. */
const both = (sees: Stream.Stream<string>, show: (text: string) => Effect.Effect<void>) =>
  sees.pipe(Stream.filter((text) => text.includes(" and ")), Stream.take(1), Stream.runForEach(show))

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel(Room)
  const news = yield* Queue.unbounded<string>()
  yield* Layer.build(watching(news))

  const annSees = yield* join(yield* Local.browser(tokenFor("ann")), "Ann")
  yield* Console.log(yield* Queue.take(news))

  yield* Effect.scoped(Effect.gen(function*() {
    const joeSees = yield* join(yield* Local.browser(tokenFor("joe")), "Joe")
    yield* Console.log(yield* Queue.take(news))
    yield* both(joeSees, (text) => Console.log(`Joe sees ${text}`))
    yield* both(annSees, (text) => Console.log(`Ann sees ${text}`))
    yield* Console.log(`There are ${(yield* whoIsThere).join(" and ")}`)
  }))
  yield* Console.log(yield* Queue.take(news))
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
