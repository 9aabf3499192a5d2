/**
 * The least that subscriptions take: an entry in a Map of the channel, and one in a Set of the connection.
 */
import * as Role from "../harness/role.ts"

const channels = new Map<string, Map<number, object>>()
const connections: Array<{ readonly channels: Set<string> }> = []

const functions = {
  connect: (count: number): void => {
    for (let i = 0; i < count; i++) connections.push({ channels: new Set() })
  },
  /** Each subscribes to so many channels. */
  subscribe: (each: number): void => {
    for (let i = 0; i < each; i++) channels.set(`channel-${i}`, new Map())
    for (const [id, connection] of connections.entries()) {
      for (const [channel, subscribers] of channels) {
        connection.channels.add(channel)
        subscribers.set(id, connection)
      }
    }
  }
}

export type Functions = typeof functions
Role.serve(functions)
