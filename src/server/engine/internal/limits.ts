/**
 * The limits of one vhost, by the names that the parts of the engine have for them.
 */

import type { Resolved } from "../../BrokerConfig.ts"

/** The limits in the configuration of a broker. */
export const fromConfig = (
  { browsers, deadLetters, heartbeat, history, idempotency, queue, tokens, ...config }: Resolved
) => ({
  maxMessageSize: config.maxMessageSize,
  maxChannels: config.maxChannels,
  maxChannelsOnDemand: config.maxChannelsOnDemand,
  maxSubscriptions: browsers.maxSubscriptions,
  memberDataSize: browsers.dataSize,
  browserDataSize: browsers.totalDataSize,
  presenceListSize: browsers.presenceListSize,
  outboxSize: browsers.outboxSize,
  graceSize: browsers.graceSize,
  historyVhostSize: history.vhostSize,
  historyMaxUsers: history.maxUsers,
  queueCapacity: queue.capacity,
  queueSize: queue.size,
  maxDeliveries: queue.maxDeliveries,
  redeliveryBackoff: queue.redeliveryBackoff,
  lifecycleRetention: queue.lifecycleRetention,
  heartbeatInterval: heartbeat.interval,
  missedHeartbeats: heartbeat.maxMissed,
  deadLetterCapacity: deadLetters.capacity,
  deadLetterSize: deadLetters.size,
  maxAccessTokens: tokens.capacity,
  accessTokenTimeToLive: tokens.timeToLive,
  idempotencyCapacity: idempotency.capacity,
  idempotencyRetention: idempotency.retention
})
