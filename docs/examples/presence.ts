/**
 * Who is there: browsers join a presence channel, and a backend is told and looks.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Queue, Stream } from "effect"
import { Client, EventRouter, Lifecycle } from "kosmonaut"
import * as Local from "./local.ts"

/** Tells what happens on presence channels. */
const watching = (news: Queue.Enqueue<string>) =>
  EventRouter.layer(Lifecycle.Members).pipe(
    Layer.provide(Lifecycle.Members.toLayer({
      memberJoined: ({ channel, data, uid }) =>
        Effect.asVoid(Queue.offer(news, `${uid} has joined ${channel}: ${JSON.stringify(data)}`)),
      memberLeft: ({ channel, uid }) => Effect.asVoid(Queue.offer(news, `${uid} has left ${channel}`))
    }))
  )

/** Who is there, in the order of their subscribing. */
const whoIsThere = Effect.gen(function*() {
  const client = yield* Client.Client
  return yield* client.subscribers("presence-room").pipe(
    Stream.map(({ uid }) => uid),
    Stream.runCollect
  )
})

/** A browser of a user, on the channel. */
const join = Effect.fnUntraced(function*(uid: string, name: string) {
  const client = yield* Client.Client
  const token = yield* client.requestSingleAccessToken(uid, "presence-room")
  const browser = yield* Local.browser(token)
  yield* browser.send({ subscribe: { channel: "presence-room", data: { name } } })
  const { subscribers } = yield* browser.receive(":subscribed")
  return { ...browser, found: subscribers }
})

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel("presence-room")
  const news = yield* Queue.unbounded<string>()
  yield* Layer.build(watching(news))

  const ann = yield* join("ann", "Ann")
  yield* Console.log(yield* Queue.take(news))
  yield* ann.receive(":memberJoined")

  const joe = yield* join("joe", "Joe")
  yield* Console.log(yield* Queue.take(news))
  yield* Console.log(`Joe's browser found ${JSON.stringify(joe.found)}`)
  yield* Console.log(`Ann's browser received ${JSON.stringify(yield* ann.receive(":memberJoined"))}`)

  yield* Console.log(`There are ${(yield* whoIsThere).join(" and ")}`)

  yield* joe.close
  yield* Console.log(yield* Queue.take(news))
})

program.pipe(
  Effect.scoped,
  Effect.provide(Layer.provideMerge(Local.backend, Local.broker)),
  NodeRuntime.runMain
)
