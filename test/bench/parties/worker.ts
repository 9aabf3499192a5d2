/**
 * A backend that listens: a Worker whose handler counts.
 */
import { Effect, Fiber, ManagedRuntime, Stream } from "effect"
import { Kosmonaut, Worker } from "../../../src/index.ts"
import * as Role from "../harness/role.ts"

const counter = Role.makeCounter()
counter.tellEvery(2000)
let listening: Fiber.Fiber<unknown, unknown> | undefined

const functions = {
  /** Listens, and returns when it is connected. */
  listen: (url: string, concurrency: number) =>
    ManagedRuntime.make(Kosmonaut.layer({ url, worker: { concurrency } })).runPromise(Effect.gen(function*() {
      const worker = yield* Worker.Worker
      listening = yield* Effect.forkDetach(worker.listen({ onMessage: () => Effect.sync(() => counter.add(1)) }))
      yield* worker.changes.pipe(Stream.filter(({ _tag }) => _tag === "Connected"), Stream.take(1), Stream.runDrain)
    })),
  stop: () => Effect.runPromise(Fiber.interrupt(listening!))
}

export type Functions = typeof functions
Role.serve(functions)
