/**
 * What a broken or malicious broker may send: any name, any field, any value.
 */

const names = [
  ":connected",
  ":authenticated",
  ":subscribed",
  ":unsubscribed",
  ":members",
  ":memberJoined",
  ":memberLeft",
  ":triggered",
  ":response",
  ":error",
  ":pong",
  ":at",
  "talk/said",
  "__proto__",
  "constructor",
  ""
]

const keys = [
  "sid",
  "v",
  "pingInterval",
  "uid",
  "channel",
  "subscribers",
  "next",
  "id",
  "event",
  "code",
  "status",
  "reason",
  "data",
  "error"
]

const values: ReadonlyArray<unknown> = [
  null,
  true,
  0,
  1,
  -1,
  1.5,
  1e-9,
  1e300,
  Number.MAX_SAFE_INTEGER,
  "",
  "room",
  "presence-room",
  "joe",
  "auth",
  "subscribe",
  "members",
  [],
  {},
  [null],
  [1, "x", {}, { uid: "joe" }, { uid: 7 }],
  { toString: 1 },
  402,
  403,
  454,
  597,
  "__proto__",
  "x".repeat(10_000)
]

/** Random numbers of [0, 1) that depend on the seed alone. */
export const random = (seed: number) => {
  let state = seed * 2_654_435_761 >>> 0
  return (): number => {
    state = Math.imul(state, 1_664_525) + 1_013_904_223 >>> 0
    return (state >>> 8) / 2 ** 24
  }
}

/** A message of nonsense, as JSON has it. `undefined` stands for what is no JSON. */
export const message = (next: () => number): unknown => {
  const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(next() * all.length)]!
  const payload = () => Object.fromEntries(Array.from({ length: 6 }, () => [pick(keys), pick(values)]))
  const one = () => next() < 0.1 ? pick(values) : { [pick(names)]: next() < 0.1 ? pick(values) : payload() }
  return next() < 0.05 ? undefined : next() < 0.1 ? [one(), [one()], one()] : one()
}
