/**
 * What a presence channel is to be after any steps: who is a member, which lifecycle events there were, and what a browser has
 * seen of it. It knows nothing of how the broker does it.
 */

export interface Connection {
  readonly sid: string
  readonly uid: string
  readonly version: 0 | 1
  readonly isHidden: boolean
  n: number
}

interface InGrace {
  readonly connection: Connection
  readonly until: number
}

const grace = 3000

/** Makes a model of one channel, nobody on it. */
export const make = () => {
  let now = 0
  let live: ReadonlyArray<Connection> = []
  let inGrace: ReadonlyArray<InGrace> = []
  // Until when browsers that are no members keep it occupied.
  let heldUntil: number | undefined
  const lifecycle: Array<string> = []

  const members = () => [...live, ...inGrace.map(({ connection }) => connection)].filter(({ isHidden }) => !isHidden)
  const isOccupied = () => live.length > 0 || inGrace.length > 0 || heldUntil !== undefined
  const isMember = (uid: string) => members().some((one) => one.uid === uid)

  // Tells what a change has made of the members and the channel.
  const changing = (uid: string, change: () => void) => {
    const before = { isMember: isMember(uid), isOccupied: isOccupied() }
    change()
    const after = { isMember: isMember(uid), isOccupied: isOccupied() }
    if (!before.isOccupied && after.isOccupied) lifecycle.push("channelOccupied")
    if (before.isMember !== after.isMember) lifecycle.push(`member${after.isMember ? "Joined" : "Left"} ${uid}`)
    if (before.isOccupied && !after.isOccupied) lifecycle.push("channelVacated")
  }

  return {
    members,
    /** How many members may still come back. */
    away: () => inGrace.length,
    /** How many lifecycle events there are that were not taken. */
    events: () => lifecycle.length,
    /** The parts of a time, at whose ends something is due. */
    partsOf: (millis: number): ReadonlyArray<number> => {
      const ends = [...inGrace.map(({ until }) => until), heldUntil ?? Infinity].filter((at) => at < now + millis)
      const times = [now, ...new Set(ends.toSorted((one, other) => one - other)), now + millis]
      return times.slice(1).map((time, index) => time - times[index]!)
    },
    live: () => live,
    takeLifecycle: () => lifecycle.splice(0),
    join: (connection: Connection) =>
      changing(connection.uid, () => {
        live = [...live, connection]
        const taken = connection.isHidden
          ? undefined
          : inGrace.find(({ connection: { uid } }) => uid === connection.uid)
        inGrace = inGrace.filter((one) => one !== taken)
      }),
    leave: (connection: Connection, mayReturn: boolean) =>
      changing(connection.uid, () => {
        live = live.filter((one) => one !== connection)
        if (!mayReturn || connection.version === 0) return
        if (connection.isHidden) heldUntil = now + grace
        else inGrace = [...inGrace, { connection, until: now + grace }]
      }),
    advance: (millis: number) => {
      const end = now + millis
      const ends = [
        ...inGrace.map((one) => ({
          at: one.until,
          uid: one.connection.uid,
          change: () => {
            inGrace = inGrace.filter((other) => other !== one)
          }
        })),
        {
          at: heldUntil ?? Infinity,
          uid: "",
          change: () => {
            heldUntil = undefined
          }
        }
      ]
      for (const { at, change, uid } of ends.toSorted((one, other) => one.at - other.at)) {
        if (at <= end) changing(uid, change)
      }
      now = end
    },
    /** A backend disconnects a user: nobody of them may come back. */
    disconnect: (uid: string) => {
      for (const one of live.filter((one) => one.uid === uid)) {
        changing(uid, () => {
          live = live.filter((other) => other !== one)
        })
      }
      changing(uid, () => {
        inGrace = inGrace.filter(({ connection }) => connection.uid !== uid)
      })
    },
    close: () => {
      const uids = [...new Set(members().map(({ uid }) => uid))]
      if (isOccupied()) lifecycle.push(...uids.map((uid) => `memberLeft ${uid}`), "channelVacated")
      live = []
      inGrace = []
      heldUntil = undefined
    }
  }
}
