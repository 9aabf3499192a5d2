/**
 * The channels and browsers of a vhost without its workers and its store.
 */
import { Clock, Effect, Result } from "effect"
import type { Event } from "../../src/protocol/Trigger.ts"
import * as BrokerConfig from "../../src/server/BrokerConfig.ts"
import * as ChannelRules from "../../src/server/ChannelRules.ts"
import * as Browsers from "../../src/server/engine/Browsers.ts"
import * as Channels from "../../src/server/engine/Channels.ts"
import * as History from "../../src/server/engine/internal/history.ts"
import * as Limits from "../../src/server/engine/internal/limits.ts"
import * as LocalLog from "../../src/server/engine/internal/localLog.ts"
import * as Rules from "../../src/server/engine/internal/rules.ts"
import type * as Steps from "../../src/server/engine/internal/steps.ts"
import * as VhostState from "../../src/server/engine/internal/vhostState.ts"
import type * as Journal from "../../src/server/engine/Journal.ts"
import type { Log } from "../../src/server/engine/Log.ts"

const config = Effect.runSync(BrokerConfig.make())

const defaults = { epoch: "epoch", rules: Rules.none(config), clock: Effect.runSync(Effect.service(Clock.Clock)) }

const historyTotal = 1_000_000

const limits = Limits.fromConfig(config)

/** Rules as those of a broker without other options. */
export const rules = (...rules: ReadonlyArray<BrokerConfig.ChannelRule>): Rules.Rules =>
  Result.getOrThrow(Result.flatMap(ChannelRules.make(rules), (rules) => atOnce(Rules.make(rules, config))))

const atOnce = <A>(steps: Steps.Steps<A>): A => {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

export interface Options extends Partial<VhostState.Options> {
  readonly emit?: ((event: Event) => void) | undefined
  readonly journal?: Journal.Journal | undefined
  /** Replaces the log. */
  readonly wrap?: ((log: LocalLog.LocalLog) => Log) | undefined
}

/** Makes a vhost with the limits of a broker, or others. */
export const make = ({ emit = () => {}, journal, wrap = (log) => log, ...options }: Options = {}) => {
  const state = VhostState.make({ ...limits, ...defaults, history: History.makeTotal(historyTotal), ...options })
  const log = wrap(LocalLog.make({ state, emit, journal }))
  return { state, log, channels: Channels.make(state, log), browsers: Browsers.make(state, log) }
}
