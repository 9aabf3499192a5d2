/** What browsers see of the history of a channel. */
import { Effect } from "effect"
import type * as Vhosts from "../../src/server/engine/Vhosts.ts"
import { enter } from "./browserSession.ts"

/** A message that a browser has received. */
export type Received = { readonly [name: string]: any }

/** Subscribes a new browser, and gives `:subscribed`, what follows and the browser. */
export const join = (vhost: Vhosts.Vhost, payload: object = {}, channel = "room") =>
  Effect.gen(function*() {
    const { browser, send } = enter({ vhost } as Parameters<typeof enter>[0], "a", 1)
    const [first, ...rest] = (yield* send("subscribe", { channel, ...payload })) as ReadonlyArray<Received>
    return { subscribed: first![":subscribed"], rest, browser }
  })

/** Broadcasts a number. */
export const say = ({ channels }: Vhosts.Vhost, n: number, channel = "room", exceptSid?: string) =>
  channels.broadcast(channel, "said", { n }, { exceptSid })

/** The numbers that were broadcast. */
export const numbers = (messages: ReadonlyArray<Received>) => messages.map(({ said }) => said.n)
