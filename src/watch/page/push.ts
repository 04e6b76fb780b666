import type { Vector } from '../../core/rotations.js';
import { type BodyPoint, placeOfPoint, pointOfBody } from './push-point.js';
import type { Stage } from './stage.js';
import type { World } from './world.js';

/** How a person pushes bodies: with the pointer, as by a rubber band, or with a button, for a moment. */

/** The acceleration of gravity, m/s²: forces are given in weights of the robot. */
const gravity = 9.81;
/** The force of a button, in weights of the robot, and for how many seconds of the simulator it lasts. */
const shove = { weights: 0.5, seconds: 0.25 };
/** The force of a rubber band that is as long as half of the camera's distance, in weights, and the largest. */
const band = { weights: 2, most: 3 };

/** The length at which a button's push is shown, as a share of the camera's distance. */
const shownShove = 0.12;

interface Band {
  readonly kind: 'band';
  readonly point: BodyPoint;
  /** Where the pointer is, in the world. */
  to: Vector;
}

interface Shove {
  readonly kind: 'shove';
  readonly point: BodyPoint;
  /** −1 or 1. */
  readonly direction: number;
  secondsLeft: number;
}

/** Pushes the bodies of one world. */
export class Pusher {
  readonly #world: World;
  readonly #stage: Stage;
  /** Where a button pushes. */
  readonly #point: BodyPoint;
  #push: Band | Shove | undefined;

  constructor(world: World, stage: Stage, point: BodyPoint) {
    this.#world = world;
    this.#stage = stage;
    this.#point = point;
  }

  /** Takes hold of a point. @returns whether there is a body there */
  grab(event: PointerEvent): boolean {
    const picked = this.#stage.pick(event);
    if (picked === undefined) return false;
    const point = pointOfBody(picked.body, picked.point, this.#world.now);
    this.#push = { kind: 'band', point, to: picked.point };
    return true;
  }

  /** The pointer moves. */
  pull(event: PointerEvent): void {
    if (this.#push?.kind !== 'band') return;
    this.#push.to = this.#stage.pointAt(event, placeOfPoint(this.#push.point, this.#world.now));
    this.#stage.showPull({ from: placeOfPoint(this.#push.point, this.#world.now), to: this.#push.to });
  }

  /** Pushes the first body that moves to the left (−1) or to the right (1), along the world's x. */
  shove(direction: number): void {
    this.release();
    this.#push = {
      kind: 'shove',
      point: this.#point,
      direction,
      secondsLeft: shove.seconds,
    };
  }

  /** Lets go. */
  release(): void {
    if (this.#push === undefined) return;
    this.#world.push(this.#push.point, [0, 0, 0]);
    this.#push = undefined;
    this.#stage.showPull(undefined);
  }

  /** The push of the next step. @param strength a factor of the forces */
  current(strength: number): { readonly point: BodyPoint; readonly force: Vector } | undefined {
    const push = this.#push;
    if (push === undefined) return undefined;
    const { point } = push;
    const weight = strength * this.#world.mass * gravity;
    const from = placeOfPoint(point, this.#world.now);
    if (push.kind === 'shove') {
      const along = push.direction * shownShove * this.#stage.distance;
      this.#stage.showPull({ from, to: [from[0] + along, from[1], from[2]] });
      return { point, force: [push.direction * shove.weights * weight, 0, 0] };
    }
    this.#stage.showPull({ from, to: push.to });
    const pull = push.to.map((value, axis) => value - from[axis]!) as [number, number, number];
    const length = Math.hypot(...pull);
    if (length === 0) return { point, force: [0, 0, 0] };
    const weights = Math.min(band.most, (band.weights * length) / (0.5 * this.#stage.distance));
    const [x, y, z] = pull.map((value) => (value / length) * weights * weight) as [number, number, number];
    return { point, force: [x, y, z] };
  }

  /** A step was taken. */
  passed(seconds: number): void {
    if (this.#push?.kind !== 'shove') return;
    this.#push.secondsLeft -= seconds;
    if (this.#push.secondsLeft <= 0) this.release();
  }
}
