/**
 * The unused single access tokens of a vhost, by their text, by their user, and in the order in which they expire.
 */

import { TransientMap } from "../../../protocol/TransientMap.ts"
import type { Granted } from "../../domain/Permission.ts"
import * as Heap from "./heap.ts"

/** A token. */
export interface Token {
  readonly token: string
  readonly uid: string
  readonly pattern: string
  readonly granted: Granted | undefined
  /** In monotonic milliseconds. */
  readonly expiresAt: number
}

/** The tokens. */
export interface UnusedTokens {
  readonly size: () => number
  readonly get: (token: string) => Token | undefined
  /** Those of a user. */
  readonly ofUser: (uid: string) => ReadonlyArray<Token>
  /** The one that expires first. */
  readonly next: () => Token | undefined
  readonly add: (token: Token) => void
  readonly remove: (token: Token) => void
}

/** Makes an empty collection. */
export const make = (): UnusedTokens => {
  const entries = new TransientMap<string, Heap.Entry<Token>>()
  const byExpiry = Heap.make<Token>((one, other) => one.expiresAt < other.expiresAt)
  // Most users have one.
  const byUser = new TransientMap<string, Token | Set<Token>>()

  const addToUser = (token: Token) => {
    const theirs = byUser.get(token.uid)
    if (theirs === undefined) byUser.set(token.uid, token)
    else if (theirs instanceof Set) theirs.add(token)
    else byUser.set(token.uid, new Set([theirs, token]))
  }
  const removeFromUser = (token: Token) => {
    const theirs = byUser.get(token.uid)
    if (!(theirs instanceof Set)) return byUser.delete(token.uid)
    theirs.delete(token)
    return theirs.size === 0 && byUser.delete(token.uid)
  }
  return {
    size: () => entries.size,
    get: (token) => entries.get(token)?.item,
    ofUser: (uid) => {
      const theirs = byUser.get(uid)
      return theirs === undefined ? [] : theirs instanceof Set ? [...theirs] : [theirs]
    },
    next: byExpiry.peek,
    add: (token) => {
      const entry = Heap.entryOf(token)
      entries.set(token.token, entry)
      byExpiry.put(entry)
      addToUser(token)
    },
    remove: (token) => {
      const entry = entries.get(token.token)
      if (entry === undefined) return
      entries.delete(token.token)
      byExpiry.remove(entry)
      removeFromUser(token)
    }
  }
}
