/**
 * A map for entries that come and go with the traffic, in the order in which they came.
 *
 * A `Map` gets a new table after so many changes, and V8 lets the old table refer to the new one. Once a full garbage collection has moved a
 * table to the old generation, each table keeps the next one, and all entries that this had, until the next full collection:
 * objects that live for a millisecond are copied and moved as well, and take several times as long. So entries move to another `Map`
 * in time, which nothing old refers to.
 *
 * @since 0.1.0
 */

/** After how many new entries they move, beside four times as many as there are. */
const patience = 1000

/**
 * As a `Map`. Whoever iterates over it must not add entries meanwhile.
 *
 * @since 0.1.0
 */
export class TransientMap<K, V> {
  private entries = new Map<K, V>()
  private added = 0
  /** How often entries have moved. An iterator that was made before does not see what comes later. */
  moved = 0

  /** How many entries there are. */
  get size(): number {
    return this.entries.size
  }

  /** The value of a key. */
  get(key: K): V | undefined {
    return this.entries.get(key)
  }

  /** Whether there is an entry with this key. */
  has(key: K): boolean {
    return this.entries.has(key)
  }

  /** Adds an entry as the last one, or changes the value of a key in its place. */
  set(key: K, value: V): void {
    const { entries } = this
    entries.set(key, value)
    if (++this.added <= patience + 4 * entries.size) return
    this.entries = new Map(entries)
    this.added = 0
    this.moved++
  }

  /** Removes the entry of a key; `false` if no entry has it. */
  delete(key: K): boolean {
    return this.entries.delete(key)
  }

  /** Removes all entries. */
  clear(): void {
    this.entries = new Map()
    this.added = 0
    this.moved++
  }

  /** The keys, the oldest first. */
  keys(): MapIterator<K> {
    return this.entries.keys()
  }

  /** The values, those of the oldest keys first. */
  values(): MapIterator<V> {
    return this.entries.values()
  }

  /** The entries, the oldest first. */
  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries[Symbol.iterator]()
  }
}
