/** The size of the charts along an episode, in their own units, and the room at their sides: for the page and for what plays it. */
export const strip = { width: 400, height: 64, left: 6, right: 6 } as const;

/** The width between the sides. */
export const stripWidth = strip.width - strip.left - strip.right;
