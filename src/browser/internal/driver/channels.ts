/**
 * The channels that are subscribed to. Several subscriptions of one channel share it on the wire, its state and its members; each has
 * consumers of its own.
 */

import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Channel from "../../../events/Channel.ts"
import { EventsDroppedError, EventsMissedError, type SubscribeError } from "../../BrowserError.ts"
import { type Cursor, type Events, type Gap, type Member, State, type Subscription } from "../../Subscription.ts"
import * as Machine from "../machine.ts"
import type { SubscriptionState } from "../output.ts"
import { inbox } from "../subscriptions.ts"
import * as Consumers from "./consumers.ts"
import type { Driver } from "./driver.ts"
import { subscribeError } from "./errors.ts"
import type { Received } from "./eventBuffer.ts"
import * as EventHub from "./eventHub.ts"
import * as Latest from "./latest.ts"

/** What all subscriptions of a channel share. */
interface Shared {
  readonly state: Latest.Latest<State>
  readonly members: Latest.Latest<ReadonlyArray<Member>>
  /** The last gap. */
  readonly gaps: Latest.Latest<Gap | undefined>
  readonly hubs: Set<EventHub.EventHub>
}

/** How a subscription is made: its data as the JSON text of an object. */
export interface Wanted {
  readonly data: string | undefined
  readonly hidden?: boolean | undefined
  readonly since?: Cursor | undefined
  readonly rewind?: number | undefined
}

/** The subscriptions of a browser. */
export interface Channels {
  /** Subscribes until the scope ends. Waits for the connection; if it fails it leaves nothing behind. */
  readonly subscribe: <E extends Events>(
    channel: Pick<Channel.Reference<E>, "name" | "events">,
    wanted: Wanted
  ) => Effect.Effect<Omit<Subscription<E>, "update">, SubscribeError, Scope.Scope>
  readonly stateChangedUnsafe: (channel: string, state: SubscriptionState) => void
  readonly membersChangedUnsafe: (channel: string) => void
  readonly missedUnsafe: (channel: string, reason: Gap["reason"]) => void
  readonly receivedUnsafe: (channel: string, received: Received) => void
  /** Ends all of them. With a cause whoever waits dies of it. */
  readonly endUnsafe: (exit?: Exit.Exit<never>) => void
}

/** What the subscriptions need. */
export interface Config {
  /** How many bytes of events may wait for a consumer. */
  readonly eventBuffer: number
  /** Milliseconds that the broker has to respond. */
  readonly timeout: number
  readonly report: Consumers.Report
}

/** Makes none. */
export const make = (driver: () => Driver, { eventBuffer, report, timeout }: Config): Channels => {
  const channels = new Map<string, Shared>()
  let end: { readonly exit: Exit.Exit<never> | undefined } | undefined

  const open = (channel: string, wanted: Wanted) => {
    const { giveUnsafe } = driver()
    const shared = channels.get(channel) ?? {
      state: Latest.make<State>(State.Subscribing()),
      members: Latest.make<ReadonlyArray<Member>>([]),
      gaps: Latest.make<Gap | undefined>(undefined),
      hubs: new Set()
    }
    const hub = EventHub.make({
      hasBacklog: true,
      limit: eventBuffer,
      onDrop: ({ event }) => report(new EventsDroppedError({ channel, event }))
    })
    shared.hubs.add(hub)
    channels.set(channel, shared)
    giveUnsafe({ ...wanted, _tag: "Subscribe", channel })
    if (end) endAll(shared, end.exit)
    const close = Effect.sync(() => {
      hub.endUnsafe()
      shared.hubs.delete(hub)
      giveUnsafe({ _tag: "Unsubscribe", channel })
      if (shared.hubs.size > 0) return
      shared.state.setUnsafe(State.Unsubscribed())
      endAll(shared)
      channels.delete(channel)
    })
    return { shared, hub, close }
  }

  const subscribe: Channels["subscribe"] = (channel, wanted) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const { close, hub, shared } = open(channel.name, wanted)
        return restore(subscribed(shared)).pipe(
          Effect.onError(() => close),
          Effect.tap(() => Effect.addFinalizer(() => close)),
          Effect.as(subscription(channel, shared, hub, report))
        )
      })
    )

  return {
    subscribe,
    stateChangedUnsafe: (channel, state) => channels.get(channel)?.state.setUnsafe(toState(state, channel, timeout)),
    membersChangedUnsafe: (channel) =>
      channels.get(channel)?.members.setUnsafe(Machine.members(driver().machine, channel)),
    missedUnsafe: (channel, reason) => {
      channels.get(channel)?.gaps.setUnsafe({ reason })
      report(new EventsMissedError({ channel, reason }))
    },
    receivedUnsafe: (channel, received) => {
      for (const hub of channels.get(channel)?.hubs ?? []) hub.emitUnsafe(received)
    },
    endUnsafe: (exit) => {
      end = { exit }
      for (const shared of channels.values()) endAll(shared, exit)
    }
  }
}

const endAll = ({ gaps, hubs, members, state }: Shared, exit?: Exit.Exit<never>): void => {
  for (const hub of hubs) hub.endUnsafe(exit)
  members.endUnsafe(exit)
  gaps.endUnsafe(exit)
  state.endUnsafe(exit)
}

const subscribed = ({ state }: Shared): Effect.Effect<void, SubscribeError> =>
  Effect.flatMap(
    state.until((state) => state._tag !== "Subscribing"),
    (state) => state._tag === "Failed" ? Effect.fail(state.error) : Effect.void
  )

const subscription = <E extends Events>(
  { events, name: channel }: Pick<Channel.Reference<E>, "name" | "events">,
  { gaps, members, state }: Shared,
  hub: EventHub.EventHub,
  report: Consumers.Report
): Omit<Subscription<E>, "update"> => ({
  channel,
  events: Consumers.stream(hub, events, nameOf(channel), report),
  // The types are those of the interface.
  on:
    ((handlers: string | { readonly [name: string]: Consumers.Handler }, handler?: Consumers.Handler) =>
      Consumers.handle(
        hub,
        events,
        typeof handlers === "string" ? { [handlers]: handler } : handlers,
        nameOf(channel),
        report
      )) as Subscription<E>["on"],
  members,
  state,
  gaps: Stream.filter(gaps.changes, (gap) => gap !== undefined)
})

// An inbox is no channel that something is broadcast on.
const nameOf = (channel: string): string | undefined => channel === inbox ? undefined : channel

const toState = (state: SubscriptionState, channel: string, timeout: number): State => {
  switch (state._tag) {
    case "Subscribing":
      return State.Subscribing()
    case "Subscribed":
      return State.Subscribed({ uid: state.uid, cursor: state.cursor })
    case "Unsubscribed":
      return State.Unsubscribed()
    case "Failed": {
      const error = subscribeError(state.failure, { operation: "subscribe", event: "", channel, timeout })
      return State.Failed({ error, isRetried: state.isRetried })
    }
  }
}
