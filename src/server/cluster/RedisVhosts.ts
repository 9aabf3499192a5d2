/**
 * The registry of vhosts that nodes share, in Redis. Access tokens are there as texts, as they are in the storage of a single broker: who
 * may read that Redis may do everything.
 */

import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { InternalError } from "../../protocol/KosmonautError.ts"
import type { LeaseLostError } from "../BrokerError.ts"
import type { Registered, Settings, SharedVhosts } from "../engine/SharedVhosts.ts"
import type { CommandError } from "./internal/link.ts"
import * as VhostScripts from "./internal/vhostScripts.ts"
import * as Keys from "./Keys.ts"
import type { Nodes } from "./Nodes.ts"
import type { RedisQueues } from "./RedisQueues.ts"

/** Makes the registry. */
export const make = (
  nodes: Pick<Nodes, "run">,
  { onWakeUnsafe }: Pick<RedisQueues, "onWakeUnsafe">
): SharedVhosts["Service"] => ({
  load: Effect.flatMap(
    Effect.mapError(nodes.run(VhostScripts.load, [Keys.vhosts], []), errorOf),
    (answer) => decodeAll(answer as ReadonlyArray<string>)
  ),
  change: (path, version, settings) =>
    Effect.mapBoth(nodes.run(VhostScripts.change, [Keys.vhosts], [path, version, encode(settings)]), {
      onSuccess: (number) => Number(number) || undefined,
      onFailure: errorOf
    }),
  onChangeUnsafe: (listener) => onWakeUnsafe(Keys.vhosts, listener)
})

const encode = (settings: Settings | undefined): string =>
  settings === undefined
    ? ""
    : JSON.stringify({ tokens: settings.tokens.map(Redacted.value), rules: settings.rules })

const Stored = Schema.fromJsonString(Schema.Struct({
  tokens: Schema.Array(Schema.RedactedFromValue(Schema.String)),
  rules: Schema.optionalKey(Schema.String)
}))

const decodeAll = Effect.fnUntraced(function*(flat: ReadonlyArray<string>) {
  const all: Array<readonly [path: string, registered: Registered]> = []
  for (let index = 0; index < flat.length; index += 2) {
    const path = flat[index]!
    if (path !== "version") all.push([path, yield* decode(path, flat[index + 1]!)])
  }
  return new Map(all.sort(([, one], [, other]) => one.created - other.created))
})

const decode = (path: string, text: string): Effect.Effect<Registered, InternalError> => {
  const [, version, created, json] = /^(\d+) (\d+) (.*)$/s.exec(text) ?? []
  return Effect.mapBoth(Schema.decodeUnknownEffect(Stored)(json), {
    onSuccess: ({ rules, tokens }) => ({ version: Number(version), created: Number(created), tokens, rules }),
    onFailure: () => new InternalError({ detail: `what is registered of the vhost ${path} cannot be read` })
  })
}

const errorOf = ({ message }: CommandError | LeaseLostError) => new InternalError({ detail: message })
