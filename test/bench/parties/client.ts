/**
 * A backend that asks: a Client, and any number of fibers that broadcast.
 */
import { Effect, ManagedRuntime } from "effect"
import { Client, Kosmonaut } from "../../../src/index.ts"
import * as Fibers from "../harness/fibers.ts"
import * as Pace from "../harness/pace.ts"
import * as Role from "../harness/role.ts"

let pace: Pace.Pace | undefined
const clients: Record<string, Client.Client["Service"]> = {}

const broadcast = (url: string, channel: string) => clients[url]!.broadcast(channel, "hello", { what: "world" })

const functions = {
  connect: async (url: string) => {
    clients[url] = await ManagedRuntime.make(Kosmonaut.layer({ url })).runPromise(Client.Client)
  },
  /** Broadcasts from so many fibers at once, each waiting for its answers, for so long. */
  request: (url: string, channel: string, fibers: number, milliseconds: number): Promise<Pace.Done> =>
    Fibers.request(fibers, milliseconds, Effect.suspend(() => broadcast(url, channel))),
  /** Broadcasts at so many a second, answered or not. */
  openLoop: (url: string, perSecond: number, milliseconds: number) =>
    Pace.openLoop(perSecond, milliseconds, (answered) => {
      Effect.runFork(Effect.andThen(broadcast(url, "room"), Effect.sync(answered)))
    }),
  /**
   * Broadcasts to a channel of so many browsers, no farther ahead of them than `window` deliveries; each time something else, if
   * that is wanted.
   */
  fanOut: (
    url: string,
    receivers: number,
    window: number,
    fibers: number,
    milliseconds: number,
    isVaried: boolean = false
  ) => {
    const current = pace = Pace.begin(window, milliseconds)
    let n = 0
    const next = isVaried
      ? Effect.suspend(() => clients[url]!.broadcast("room", "hello", { what: "world", n: n++ }))
      : broadcast(url, "room")
    const opened = Effect.promise(current.opened)
    const one = Effect.gen(function*() {
      while (!current.isOver()) {
        if (!current.isOpen()) {
          yield* opened
          continue
        }
        current.made(receivers)
        yield* next
      }
    })
    return Effect.runPromise(
      Effect.forEach(Array.from({ length: fibers }), () => one, { concurrency: "unbounded", discard: true })
    ).then(current.done)
  },
  arrived: (more: number): void => pace!.arrived(more)
}

export type Functions = typeof functions
Role.serve(functions)
