/**
 * The triggers and requests that a vhost's browsers may send again after a reconnect, by user, client and id: none is enqueued
 * twice.
 *
 * A call is known while it runs, and for `idempotencyRetention` after it has ended: at most 1000 of each user with 4 MiB, and
 * `idempotencyCapacity` of all users with 64 MiB. Beyond that the oldest are removed; sent again, they are new. A call that
 * has not been enqueued, or was cancelled before a worker has begun, is not remembered.
 *
 * @since 0.1.0
 */

import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import { constFalse, constVoid } from "effect/Function"
import type { Id } from "../../protocol/BrowserMessage.ts"
import { TransientMap } from "../../protocol/TransientMap.ts"
import * as Timeline from "./internal/timeline.ts"
import type { Cancel } from "./Lobby.ts"

/**
 * Who has sent a call: the session of a browser.
 *
 * @since 0.1.0
 */
export interface Caller {
  /** Its requests without a response, by their ids. */
  readonly running: TransientMap<Id, Call>
  /** How many bytes they have together. */
  size: number
  /** Sends a message to the browser. */
  readonly sendUnsafe: (message: string) => void
}

/**
 * A trigger or a request.
 *
 * @since 0.1.0
 */
export interface Call {
  readonly id: Id
  readonly uid: string
  /** Differs for different calls with the same id. */
  readonly fingerprint: number
  /** How many bytes it has. */
  readonly size: number
  /** The session that sent it last. */
  caller: Caller
  /** Whether the browser still needs the response. */
  isWanted: boolean
  /** Cancels a request. */
  cancel: Cancel
  /** The message that a request was answered with. */
  response: string | undefined
  /** Where it is remembered, if its browser has named its client. */
  readonly key: Key | undefined
}

/**
 * Under which key a call is remembered.
 *
 * @since 0.1.0
 */
export interface Key {
  readonly uid: string
  /** The client and the id as one text. */
  readonly name: string
}

/**
 * The calls of one vhost.
 *
 * @since 0.1.0
 */
export interface Calls {
  readonly find: (key: Key) => Call | undefined
  /** Adds a call that runs. */
  readonly addUnsafe: (call: Call) => void
  /** A call has ended, and is remembered from now on. */
  readonly endUnsafe: (call: Call) => void
  /** Removes a call. */
  readonly removeUnsafe: (call: Call) => void
  /** How many calls are known now, those that run included. */
  readonly size: () => number
}

/**
 * The key of a call.
 *
 * @since 0.1.0
 */
export const keyOf = (uid: string, client: string, id: Id): Key => ({ uid, name: JSON.stringify([client, id]) })

/** How many calls of a user are remembered, and how many bytes they may have. */
const maxOfUser = 1000
const maxSizeOfUser = 4 * 1_048_576

/** How many bytes the calls of all users may have. */
const maxSize = 64 * 1_048_576

/** What a call takes beside its texts, in bytes. */
const overhead = 512

const nobody: Caller = { running: new TransientMap(), size: 0, sendUnsafe: constVoid }

/** A call that is remembered. */
interface Ended {
  readonly call: Call
  readonly key: Key
  readonly user: User
  readonly size: number
  readonly expiresAt: number
  /** Its neighbours among the calls of all users. */
  before: Ended | undefined
  after: Ended | undefined
  /** The next one of its user. */
  next: Ended | undefined
}

/**
 * Calls in the order in which they have ended. The oldest of all is the oldest of its user as well, so that a user's oldest is all that
 * is ever removed.
 */
interface EndedCalls {
  oldest: Ended | undefined
  newest: Ended | undefined
  count: number
  size: number
}

/** The calls of one user. */
interface User {
  /** All that are known, by their names. */
  readonly calls: Map<string, Call>
  readonly ended: EndedCalls
}

interface State {
  readonly users: Map<string, User>
  /** Those of all users that have ended. */
  readonly ended: EndedCalls
  /** How many calls are known. */
  count: number
}

/**
 * Makes the calls of a vhost, none yet.
 *
 * @since 0.1.0
 */
export const make = (options: {
  readonly idempotencyCapacity: number
  readonly idempotencyRetention: Duration.Duration
  readonly clock: Clock.Clock
}): Calls => {
  const { clock, idempotencyCapacity } = options
  const retention = Duration.toMillis(options.idempotencyRetention)
  const state: State = { users: new Map(), ended: none(), count: 0 }
  const { ended, users } = state

  const removeExpired = (now: number) => {
    while (ended.oldest !== undefined && ended.oldest.expiresAt <= now) removeOldest(state, ended.oldest)
  }
  const known = ({ name, uid }: Key) => users.get(uid)?.calls.get(name)
  return {
    find: (key) => {
      // Most are new, and need no look at the clock.
      if (known(key) === undefined) return undefined
      removeExpired(Timeline.nowOf(clock))
      return known(key)
    },
    addUnsafe: (call) => {
      if (call.key !== undefined) add(state, call, call.key)
    },
    endUnsafe: (call) => {
      const { key, response } = call
      if (key === undefined) return
      const now = Timeline.nowOf(clock)
      removeExpired(now)
      // Nothing of the browser's session is held for longer than the session.
      call.caller = nobody
      call.cancel = constFalse
      const user = add(state, call, key)
      const size = overhead + 2 * (key.uid.length + key.name.length + (response?.length ?? 0))
      append(state, {
        call,
        key,
        user,
        size,
        expiresAt: now + retention,
        before: ended.newest,
        after: undefined,
        next: undefined
      })
      while (user.ended.count > maxOfUser || user.ended.size > maxSizeOfUser) removeOldest(state, user.ended.oldest!)
      while (ended.count > idempotencyCapacity || ended.size > maxSize) removeOldest(state, ended.oldest!)
    },
    removeUnsafe: (call) => {
      if (call.key !== undefined) remove(state, call, call.key)
    },
    size: () => state.count
  }
}

const none = (): EndedCalls => ({ oldest: undefined, newest: undefined, count: 0, size: 0 })

const add = (state: State, call: Call, { name, uid }: Key): User => {
  let user = state.users.get(uid)
  if (user === undefined) state.users.set(uid, user = { calls: new Map(), ended: none() })
  const before = user.calls.size
  user.calls.set(name, call)
  state.count += user.calls.size - before
  return user
}

const remove = (state: State, call: Call, { name, uid }: Key): void => {
  const user = state.users.get(uid)
  // Another call may have the key by now.
  if (user?.calls.get(name) !== call) return
  state.count--
  user.calls.delete(name)
  if (user.calls.size === 0) state.users.delete(uid)
}

const append = ({ ended }: State, own: Ended): void => {
  const { size, user } = own
  if (ended.newest === undefined) ended.oldest = own
  else ended.newest.after = own
  if (user.ended.newest === undefined) user.ended.oldest = own
  else user.ended.newest.next = own
  for (const list of [ended, user.ended]) {
    list.newest = own
    list.count++
    list.size += size
  }
}

// The oldest of its user.
const removeOldest = (state: State, { after, before, call, key, next, size, user }: Ended): void => {
  const { ended } = state
  if (before === undefined) ended.oldest = after
  else before.after = after
  if (after === undefined) ended.newest = before
  else after.before = before
  user.ended.oldest = next
  if (next === undefined) user.ended.newest = undefined
  for (const list of [ended, user.ended]) {
    list.count--
    list.size -= size
  }
  remove(state, call, key)
}
