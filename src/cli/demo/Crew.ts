/**
 * What the demo's backend knows: the names of people and the last lines. An application would have them in its database, and
 * so they outlast a restart of the server.
 *
 * @since 0.1.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Line, maxName, NameTaken, NameTooLong } from "./Chat.ts"

/**
 * The people and their lines. Both are bounded: the oldest is forgotten.
 *
 * @since 0.1.0
 */
export class Crew extends Context.Service<Crew, {
  /** Somebody is here, under the name that they had before, if it is still free, or under a free one. */
  readonly enter: (uid: string) => Effect.Effect<string>
  /** Somebody has left, and their name is free. */
  readonly leave: (uid: string) => Effect.Effect<void>
  /** Fails if another person has the name, or if it is too long. */
  readonly rename: (uid: string, to: string) => Effect.Effect<string, NameTaken | NameTooLong>
  /** The name of everybody who has been here, by their uid. */
  readonly names: Effect.Effect<Readonly<Record<string, string>>>
  /** Adds a line, and gives the one with this id that was there already: an event is handled at least once. */
  readonly say: (line: Line) => Effect.Effect<Line>
  /** The last lines, the oldest first. */
  readonly lines: Effect.Effect<ReadonlyArray<Line>>
}>()("kosmonaut/cli/demo/Crew") {}

const maxPeople = 200
const maxLines = 100

const cosmonauts = ["Yuri", "Valentina", "Alexei", "Svetlana", "Mae", "Neil", "Sally", "Buzz", "Peggy", "Chris"]

interface Person {
  readonly name: string
  readonly isHere: boolean
}

const make = (): Crew["Service"] => {
  const people = new Map<string, Person>()
  const lines = new Map<string, Line>()

  const isFree = (name: string, uid: string): boolean =>
    !Array.from(people).some(([other, person]) =>
      other !== uid && person.isHere && person.name.toLowerCase() === name.toLowerCase()
    )
  const freeName = (uid: string): string => {
    const wanted = [
      people.get(uid)?.name ?? [],
      cosmonauts,
      Array.from({ length: maxPeople }, (_, n) => `Guest ${n + 1}`)
    ]
    return wanted.flat().find((name) => isFree(name, uid)) ?? uid.slice(0, maxName)
  }

  return {
    enter: (uid) =>
      Effect.sync(() => {
        const name = freeName(uid)
        put(people, uid, { name, isHere: true }, maxPeople)
        return name
      }),
    leave: (uid) =>
      Effect.sync(() => {
        const person = people.get(uid)
        if (person !== undefined) people.set(uid, { ...person, isHere: false })
      }),
    rename: (uid, to) =>
      Effect.suspend((): Effect.Effect<string, NameTaken | NameTooLong> => {
        const name = to.trim()
        if (name.length > maxName) return Effect.fail(new NameTooLong({ max: maxName }))
        if (!isFree(name, uid)) return Effect.fail(new NameTaken({ name }))
        put(people, uid, { name, isHere: true }, maxPeople)
        return Effect.succeed(name)
      }),
    names: Effect.sync(() => Object.fromEntries(Array.from(people, ([uid, { name }]) => [uid, name]))),
    say: (line) =>
      Effect.sync(() => {
        const said = lines.get(line.id)
        if (said === undefined) put(lines, line.id, line, maxLines)
        return said ?? line
      }),
    lines: Effect.sync(() => Array.from(lines.values()))
  }
}

const put = <A>(map: Map<string, A>, key: string, value: A, limit: number): void => {
  map.set(key, value)
  if (map.size > limit) map.delete(map.keys().next().value!)
}

/**
 * Nobody, who has said nothing.
 *
 * @since 0.1.0
 */
export const layer: Layer.Layer<Crew> = Layer.sync(Crew, make)
