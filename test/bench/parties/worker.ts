/**
 * A backend that listens: a Worker whose handler counts, or one that responds to requests.
 */
import { Effect, Fiber, Layer, ManagedRuntime, Stream } from "effect"
import { EventRouter, Kosmonaut, Worker } from "../../../src/index.ts"
import * as Role from "../harness/role.ts"
import { Chat } from "./chat.ts"

const counter = Role.makeCounter()
counter.tellEvery(250)
let listening: Fiber.Fiber<unknown, unknown> | undefined

const functions = {
  /** Listens, and returns when it is connected. */
  listen: (url: string, concurrency: number) =>
    ManagedRuntime.make(Kosmonaut.layer({ url, worker: { concurrency } })).runPromise(Effect.gen(function*() {
      const worker = yield* Worker.Worker
      listening = yield* Effect.forkDetach(worker.listen({ onMessage: () => Effect.sync(() => counter.add(1)) }))
      yield* worker.changes.pipe(Stream.filter(({ _tag }) => _tag === "Connected"), Stream.take(1), Stream.runDrain)
    })),
  /** Responds to requests, and returns when it is connected. */
  respond: async (url: string) => {
    const router = EventRouter.layer(Chat).pipe(
      Layer.provide(Chat.toLayer({ echo: ({ text }) => Effect.succeed({ text }) })),
      Layer.provideMerge(Kosmonaut.layer({ url, worker: { concurrency: 64 } }))
    )
    await ManagedRuntime.make(router).runPromise(Effect.void)
  },
  stop: () => Effect.runPromise(Fiber.interrupt(listening!))
}

export type Functions = typeof functions
Role.serve(functions)
