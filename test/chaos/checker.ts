/**
 * Judges the history of a run: what browsers and Clients were told, against what workers say that they have handled and
 * browsers that they have received.
 */

// --- Events ----------------------------------------------------------------------------------------------------------

/** What a worker wrote down when it had handled an event. */
export interface Handling {
  /** The event's number, which the browser gave it. */
  readonly n: number
  /** The event's name, as the broker gave it; none from a broker that does not wait for acknowledgements. */
  readonly id?: string | undefined
  readonly attempt: number
  /** When that was, in milliseconds since 1970. */
  readonly at: number
}

/** What happened to events. */
export interface History {
  /** When each event was triggered, by its number. */
  readonly triggered: ReadonlyMap<number, number>
  /** When it was confirmed, where it was. */
  readonly confirmed: ReadonlyMap<number, number>
  /** The triggers that were answered with an error. */
  readonly refused: ReadonlySet<number>
  /** Those whose connection ended before there was an answer: nobody knows. */
  readonly unknown: ReadonlySet<number>
  readonly handlings: ReadonlyArray<Handling>
  /** The numbers of the events that are dead letters. */
  readonly letters: ReadonlySet<number>
  /** When the broker was killed. What it had not written down then it may have forgotten, such as a last attempt. */
  readonly restarts: ReadonlyArray<number>
}

/** What is to be said of it. */
export interface Verdict {
  /** How often an event was handled that had been before: in a later attempt, or in one that a broker has forgotten. */
  readonly duplicates: { readonly redelivered: number; readonly restarted: number }
  /** The confirmed events that nobody has handled, and that are no dead letters. */
  readonly losses: ReadonlyArray<number>
  /** What must not be, whatever happens, in words. */
  readonly wrongs: ReadonlyArray<string>
}

/**
 * Every confirmed event is handled at least once or a dead letter; one of which nobody knows may be, any other may not. One
 * that is handled again says so: no two of its handlings are the same attempt, unless the broker was killed after it was
 * triggered and may have forgotten one. An event has one name, and a name one event.
 */
export const check = (history: History): Verdict => {
  const { confirmed, letters, restarts, triggered } = history
  const wrongs: Array<string> = []
  const ids = new Map<number, string | undefined>()
  const numbers = new Map<string, number>()
  const attempts = new Map<string, number>()
  const duplicates = { redelivered: 0, restarted: 0 }
  for (const { at, attempt, id, n } of byTime(history.handlings)) {
    const mustNot = whyNot(history, n)
    if (mustNot !== undefined) wrongs.push(`${n} was handled, but ${mustNot}`)
    const before = attempts.get(`${n} ${attempt}`)
    const restarted = before !== undefined &&
      restarts.some((killed) => (triggered.get(n) ?? 0) <= killed && killed <= at)
    if (before !== undefined && !restarted) wrongs.push(`attempt ${attempt} of ${n} was handled twice`)
    attempts.set(`${n} ${attempt}`, at)
    if (ids.has(n)) duplicates[restarted ? "restarted" : "redelivered"]++
    if (ids.has(n) && ids.get(n) !== id) wrongs.push(`${n} has two names, ${ids.get(n)} and ${id}`)
    ids.set(n, id)
    if (id !== undefined && (numbers.get(id) ?? n) !== n) wrongs.push(`${numbers.get(id)} and ${n} are both ${id}`)
    if (id !== undefined) numbers.set(id, n)
  }
  for (const n of letters) {
    const mustNot = whyNot(history, n)
    if (mustNot !== undefined) wrongs.push(`${n} is a dead letter, but ${mustNot}`)
  }
  return { duplicates, losses: [...confirmed.keys()].filter((n) => !ids.has(n) && !letters.has(n)), wrongs }
}

const whyNot = ({ confirmed, refused, unknown }: History, n: number): string | undefined =>
  confirmed.has(n) || unknown.has(n) ? undefined : refused.has(n) ? "refused" : "never triggered"

const byTime = (handlings: ReadonlyArray<Handling>) => handlings.toSorted((a, b) => a.at - b.at)

/**
 * In milliseconds: the longest time in which nobody handled anything although a confirmed event waited, and the longest
 * from an event's confirmation to its first handling.
 */
export const waits = ({ confirmed, handlings }: History): { readonly idle: number; readonly event: number } => {
  const firsts = new Map<number, number>()
  const sorted = byTime(handlings)
  for (const { at, n } of sorted) if (!firsts.has(n)) firsts.set(n, at)
  let idle = 0
  let event = 0
  // From the end, what has waited the longest of all that was first handled here or later.
  let since = Infinity
  for (let index = sorted.length - 1; index >= 0; index--) {
    const { at, n } = sorted[index]!
    const from = firsts.get(n) === at ? confirmed.get(n) ?? Infinity : Infinity
    event = Math.max(event, at - from)
    since = Math.min(since, from)
    idle = Math.max(idle, at - Math.max(since, sorted[index - 1]?.at ?? -Infinity))
  }
  return { idle, event }
}

// --- Lifecycle events ------------------------------------------------------------------------------------------------

/** A lifecycle event that a worker was given. */
export interface Transition {
  readonly lifecycle: string
  /** The event's name: if it is delivered again it has the same. */
  readonly id?: string | undefined
  readonly data: { readonly sid?: string; readonly channel?: string; readonly uid?: string }
}

/** What there is at rest. */
export interface Rest {
  /** The connections. */
  readonly sids: ReadonlyArray<string>
  readonly channel: string
  /** The users on the channel. */
  readonly members: ReadonlyArray<string>
}

/** What begins and what ends, what has the name, and what of it is there. */
const pairs: ReadonlyArray<{
  readonly begins: string
  readonly ends: string
  readonly nameOf: (data: Transition["data"]) => string | undefined
  readonly there: (rest: Rest) => ReadonlyArray<string>
}> = [
  {
    begins: "browserConnected",
    ends: "browserDisconnected",
    nameOf: ({ sid }) => sid,
    there: ({ sids }) => sids
  },
  { begins: "memberJoined", ends: "memberLeft", nameOf: ({ uid }) => uid, there: ({ members }) => members },
  {
    begins: "channelOccupied",
    ends: "channelVacated",
    nameOf: ({ channel }) => channel,
    there: ({ channel, members }) => members.length > 0 ? [channel] : []
  }
]

/**
 * Each transition was emitted once: what is there at rest has begun once more than it has ended, and all else has ended as often as it
 * has begun. A connection begins once.
 */
export const checkTransitions = (transitions: ReadonlyArray<Transition>, rest: Rest): ReadonlyArray<string> => {
  const emitted = [...new Map(transitions.map((transition) => [transition.id, transition])).values()]
    .filter(({ data: { channel } }) => channel === undefined || channel === rest.channel)
  return pairs.flatMap(({ begins, ends, nameOf, there }) => {
    const namesOf = (name: string) =>
      emitted.filter(({ lifecycle }) => lifecycle === `:lifecycle/${name}`).map(({ data }) => nameOf(data))
    const [begun, ended, isThere] = [counted(namesOf(begins)), counted(namesOf(ends)), counted(there(rest))]
    return [...new Set([...begun.keys(), ...ended.keys(), ...isThere.keys()])].flatMap((name) => {
      const [on, off, now] = [begun, ended, isThere].map((counts) => counts.get(name) ?? 0) as [number, number, number]
      const isRight = on - off === now && (begins !== "browserConnected" || on === 1)
      return isRight
        ? []
        : [`${name} was ${begins} ${on} times, ${ends} ${off} times, and is ${now === 0 ? "gone" : "there"}`]
    })
  })
}

const counted = (names: ReadonlyArray<string | undefined>): ReadonlyMap<string | undefined, number> => {
  const counts = new Map<string | undefined, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

// --- Broadcasts ------------------------------------------------------------------------------------------------------

/** A broadcast. Times are those of one clock that never stands still, `Subscription`'s too. */
export interface Broadcast {
  readonly sender: string
  /** Its number. A sender begins one after the other, when the last was answered or has failed. */
  readonly n: number
  readonly channel: string
  readonly begun: number
  /** When it was answered; nobody knows what became of one that was not. */
  readonly answered?: number | undefined
  /** Whether it was answered with an error, and nobody is to receive it. */
  readonly refused?: boolean | undefined
}

/** What a browser has received on one connection. */
export interface Subscription {
  readonly name: string
  readonly channels: ReadonlyArray<string>
  /** When it asked for its channels. */
  readonly asked: number
  /** When it was on all of them. */
  readonly subscribed: number
  /** When it said last what was answered: whatever the broker had for it before, it has received. */
  readonly synced: number
  /** In the order of receiving. */
  readonly received: ReadonlyArray<Pick<Broadcast, "sender" | "n" | "channel">>
}

/**
 * Every answered broadcast has reached each browser that was on its channel from before it was begun until after it was
 * answered, once and in the order of its sender. One that was not answered may have, once. Nothing else is received.
 */
export const checkBroadcasts = (
  broadcasts: ReadonlyArray<Broadcast>,
  subscriptions: ReadonlyArray<Subscription>
): ReadonlyArray<string> => {
  const all = new Map(broadcasts.map((broadcast) => [nameOf(broadcast), broadcast]))
  return subscriptions.flatMap((subscription) => {
    const received = new Set(subscription.received.map(nameOf))
    return [...unexpected(all, subscription), ...missing(broadcasts, subscription, received)]
  })
}

const nameOf = ({ n, sender }: Pick<Broadcast, "sender" | "n">): string => `${sender} ${n}`

function* unexpected(all: ReadonlyMap<string, Broadcast>, { asked, channels, received, name }: Subscription) {
  const before = new Set<string>()
  const latest = new Map<string, number>()
  for (const { channel, n, sender } of received) {
    const what = nameOf({ sender, n })
    const broadcast = all.get(what)
    const last = latest.get(sender) ?? -1
    if (broadcast === undefined) yield `${name} received ${what}, which was never sent`
    else if (broadcast.refused) yield `${name} received ${what}, which was refused`
    else if (broadcast.channel !== channel) {
      yield `${name} received ${what} on ${channel}, but it was for ${broadcast.channel}`
    } else if (!channels.includes(channel)) yield `${name} received ${what} and is not on ${channel}`
    else if (broadcast.answered !== undefined && broadcast.answered < asked) {
      yield `${name} received ${what} from before it came`
    } else if (before.has(what)) yield `${name} received ${what} twice`
    // What was not answered may come after what was begun later.
    else if (broadcast.answered !== undefined && n < last) yield `${name} received ${what} after ${last}`
    before.add(what)
    latest.set(sender, Math.max(last, n))
  }
}

function* missing(
  broadcasts: ReadonlyArray<Broadcast>,
  { channels, name, subscribed, synced }: Subscription,
  received: ReadonlySet<string>
) {
  for (const broadcast of broadcasts) {
    const { answered, begun, channel } = broadcast
    if (answered === undefined || begun < subscribed || answered > synced) continue
    if (channels.includes(channel) && !received.has(nameOf(broadcast))) {
      yield `${name} did not receive ${nameOf(broadcast)}`
    }
  }
}

// --- Broadcasts on a channel with history --------------------------------------------------------------------------------

/** What a browser of the library has heard on a channel with history, over all its connections. */
export interface Listener {
  readonly name: string
  /** When it was subscribed for the first time. */
  readonly since: number
  /** In the order of hearing, with what it was told of losses. */
  readonly heard: ReadonlyArray<Pick<Broadcast, "sender" | "n"> | { readonly gap: string }>
}

/**
 * Every answered broadcast that was begun after a listener had subscribed is heard by it exactly once and in the order of its
 * sender, or it is missing at a place where the listener was told of a gap. Nothing else is heard.
 */
export const checkListeners = (
  broadcasts: ReadonlyArray<Broadcast>,
  listeners: ReadonlyArray<Listener>
): ReadonlyArray<string> => {
  const all = new Map(broadcasts.map((broadcast) => [nameOf(broadcast), broadcast]))
  return listeners.flatMap((listener) => [...heardWrongly(all, listener), ...notHeard(broadcasts, listener)])
}

function* heardWrongly(all: ReadonlyMap<string, Broadcast>, { heard, name }: Listener) {
  const before = new Set<string>()
  const latest = new Map<string, number>()
  for (const one of heard) {
    if ("gap" in one) continue
    const what = nameOf(one)
    const broadcast = all.get(what)
    const last = latest.get(one.sender) ?? -1
    if (broadcast === undefined) yield `${name} heard ${what}, which was never sent`
    else if (broadcast.refused) yield `${name} heard ${what}, which was refused`
    else if (before.has(what)) yield `${name} heard ${what} twice`
    // What was not answered may come after what was begun later.
    else if (broadcast.answered !== undefined && one.n < last) yield `${name} heard ${what} after ${last}`
    before.add(what)
    latest.set(one.sender, Math.max(last, one.n))
  }
}

function* notHeard(broadcasts: ReadonlyArray<Broadcast>, { heard, name, since }: Listener) {
  const gaps = heard.flatMap((one, index) => "gap" in one ? [index] : [])
  const places = new Map<string, Array<{ readonly n: number; readonly index: number }>>()
  heard.forEach((one, index) => {
    if ("sender" in one) places.set(one.sender, [...places.get(one.sender) ?? [], { n: one.n, index }])
  })
  for (const { answered, begun, n, sender } of broadcasts) {
    if (answered === undefined || begun < since) continue
    const own = places.get(sender) ?? []
    if (own.some((place) => place.n === n)) continue
    const after = Math.max(-1, ...own.filter((place) => place.n < n).map(({ index }) => index))
    const until = Math.min(Infinity, ...own.filter((place) => place.n > n).map(({ index }) => index))
    if (!gaps.some((gap) => after < gap && gap < until)) yield `${name} did not hear ${sender} ${n}, and was not told`
  }
}
