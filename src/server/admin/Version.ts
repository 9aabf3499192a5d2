/**
 * The version of this package, which `kosmonaut --version` and the admin API show.
 *
 * @since 0.1.0
 */

/**
 * The version, as in `package.json`.
 *
 * @since 0.1.0
 */
export const version = "0.1.0"
