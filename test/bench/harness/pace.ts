/**
 * Who makes work keeps this far ahead of who has done it, and no farther: what is made counts when it has arrived.
 */

/** What one round did. */
export interface Done {
  readonly operations: number
  readonly seconds: number
}

/** The window of one round. */
export interface Pace {
  /** Whether more may be made now. */
  readonly isOpen: () => boolean
  /** So much was made. */
  readonly made: (more: number) => void
  /** So much has arrived. */
  readonly arrived: (more: number) => void
  /** Waits until more may be made, or there is no more time. */
  readonly opened: () => Promise<void>
  readonly isOver: () => boolean
  /** Waits until all has arrived. */
  readonly done: () => Promise<Done>
}

/** Begins a round of so many milliseconds with at most `window` under way. */
export const begin = (window: number, milliseconds: number): Pace => {
  const started = performance.now()
  const end = started + milliseconds
  const isOver = () => performance.now() >= end
  let made = 0
  let arrived = 0
  let waiting: Array<() => void> = []
  let finish: (() => void) | undefined
  const isOpen = () => made - arrived < window
  return {
    isOpen,
    isOver,
    made: (more) => void (made += more),
    arrived: (more) => {
      arrived += more
      if (isOpen() && waiting.length > 0) {
        const opened = waiting
        waiting = []
        opened.forEach((resume) => resume())
      }
      if (arrived >= made) finish?.()
    },
    opened: () => new Promise((resume) => waiting.push(resume)),
    done: async () => {
      if (arrived < made) await new Promise<void>((resume) => void (finish = resume))
      return { operations: arrived, seconds: (performance.now() - started) / 1000 }
    }
  }
}

/**
 * Sends to all of so many, again and again, and lets the event loop turn after every few hundred deliveries, or after
 * `together` messages to each.
 */
export const fanOut = async (
  pace: Pace,
  receivers: number,
  send: () => void,
  together = Math.max(1, Math.floor(200 / receivers))
): Promise<Done> => {
  while (!pace.isOver()) {
    if (!pace.isOpen()) await pace.opened()
    for (let i = 0; i < together; i++) send()
    pace.made(together * receivers)
    await new Promise<void>((resume) => void setImmediate(resume))
  }
  return pace.done()
}

/** Keeps `width` requests in flight until the time is over. */
export const request = async (width: number, milliseconds: number, ask: () => Promise<unknown>): Promise<Done> => {
  const started = performance.now()
  let operations = 0
  const one = async () => {
    while (performance.now() - started < milliseconds) {
      await ask()
      operations++
    }
  }
  await Promise.all(Array.from({ length: width }, one))
  return { operations, seconds: (performance.now() - started) / 1000 }
}

/** Latencies in milliseconds. */
export interface Latencies {
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

/**
 * Asks so often a second, whether those before have been answered or not: every millisecond what is due then. Whoever
 * keeps the event loop from turning for longer is late for all that was due meanwhile, and that counts.
 */
export const openLoop = async (perSecond: number, milliseconds: number, ask: (answered: () => void) => void) => {
  const total = Math.floor(perSecond * milliseconds / 1000)
  const latencies = new Float64Array(total)
  const all = Promise.withResolvers<void>()
  const started = performance.now()
  let answered = 0
  for (let asked = 0; asked < total;) {
    await new Promise<void>((resume) => void setTimeout(resume, 1))
    const now = performance.now()
    for (; asked < total; asked++) {
      const due = started + asked * 1000 / perSecond
      if (due > now) break
      const from = due < now - 2 ? due : now
      ask(() => {
        latencies[answered++] = performance.now() - from
        if (answered === total) all.resolve()
      })
    }
  }
  await all.promise
  latencies.sort()
  const at = (part: number) => latencies[Math.min(total - 1, Math.floor(total * part))]!
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) } satisfies Latencies
}
