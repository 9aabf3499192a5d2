/**
 * One trace from what a browser triggers to what the browsers receive, and a tracer that prints it.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Array, Console, Effect, Layer, Order, Stream, Tracer } from "effect"
import { Client, EventRouter, Message } from "kosmonaut"
import { Channel, Event, EventGroup } from "kosmonaut/events"
import * as Local from "./local.ts"

class Chat extends EventGroup.make("chat", Event.make("say")) {}
class Talk extends EventGroup.make("talk", Event.make("said")) {}
const Room = Channel.make("room", { events: Talk })

const ChatLive = Chat.toLayer({
  say: (_data, message) =>
    Effect.withSpan(Effect.void, "look it up").pipe(
      Effect.andThen(Message.broadcastReply(message, Room, "said", {}))
    )
})

const program = Effect.gen(function*() {
  const client = yield* Client.Client
  yield* client.openChannel(Room)
  yield* Layer.build(Layer.provide(EventRouter.layer(Chat), ChatLive))
  const browser = yield* Local.browser(Local.tokenFor("joe"))
  const room = yield* browser.subscribe(Room)
  yield* browser.trigger(Chat.events.say)
  yield* Stream.runHead(room.events)
})

/** A tracer that keeps all spans. One that exports them is in the guide. */
const spans: Array<Tracer.NativeSpan> = []
const Keeping = Layer.succeed(
  Tracer.Tracer,
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
)

/** Prints a span and, below it, those that it caused. */
const print = (span: Tracer.NativeSpan, indentation = ""): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* Console.log(`${indentation}${span.name} (${span.kind})`)
    const caused = spans.filter(({ parent }) => parent._tag === "Some" && parent.value.spanId === span.spanId)
    for (const next of Array.sortWith(caused, startOf, Order.BigInt)) yield* print(next, `${indentation}  `)
  })

const startOf = ({ status }: Tracer.NativeSpan) => status.startTime

program.pipe(
  Effect.scoped,
  // The broker traces as well, since the tracer is there when it is built.
  Effect.provide(Local.backend.pipe(Layer.provideMerge(Local.broker), Layer.provideMerge(Keeping))),
  // Everything has ended now, so all spans have.
  Effect.andThen(Effect.suspend(() => print(spans.find(({ name }) => name === "Broker.trigger")!))),
  NodeRuntime.runMain
)
