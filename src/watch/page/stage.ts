import type { Vector } from '../../core/rotations.js';
import { type PickedPoint, SceneCanvas } from '../../report/page/scene-canvas.js';
import { cameraOf, middleOf, posesAt, type SceneCamera } from '../../report/scene-camera.js';
import { pictureSize, posePicture } from '../../report/scene-picture.js';
import type { World } from './world.js';

/** What is seen of a world: its bodies, by WebGL or as a drawing, from a camera that follows them. */

/** The share of the way to what it follows that the camera moves with each picture. */
const followingRate = 0.12;
/** The shares of the camera's distance by which bodies may leave the middle before a camera that stands still follows them. */
const deadZone = { across: 0.3, up: 0.06 };

/** The share of the way that a camera goes to what is `far` away, of which it does not follow the first `free`. */
const followed = (far: number, free: number) => (far <= free ? 0 : (followingRate * (far - free)) / far);

/** The stage of a world. */
export class Stage {
  readonly #element: HTMLElement;
  readonly #world: World;
  readonly #camera: SceneCamera;
  readonly #travels: boolean;
  readonly #canvas: SceneCanvas | undefined;
  readonly #drawing: SVGSVGElement | undefined;
  readonly #home: Vector;
  #target: Vector;

  /** @param poses of a rehearsal, by which the camera is chosen, [F, B, 7] */
  constructor(element: HTMLElement, world: World, poses: Float32Array, label: string) {
    this.#element = element;
    this.#world = world;
    this.#camera = cameraOf(world.scene, poses);
    const { targets } = this.#camera;
    this.#home = [targets[0]!, targets[1]!, targets[2]!];
    this.#target = this.#home;
    this.#travels = targets.some((value, i) => Math.abs(value - targets[i % 3]!) > 1e-6);
    this.#canvas = SceneCanvas.create(element, world.scene, this.#camera, label);
    if (this.#canvas !== undefined) return;
    this.#drawing = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    this.#drawing.setAttribute('viewBox', `0 0 ${pictureSize.width} ${pictureSize.height}`);
    this.#drawing.setAttribute('role', 'img');
    this.#drawing.setAttribute('aria-label', label);
    element.replaceChildren(this.#drawing);
    element.dataset.drawn = 'svg';
  }

  /** Whether bodies can be picked with the mouse. */
  get canPick(): boolean {
    return this.#canvas !== undefined;
  }

  /** The camera's distance from its target, in meters. */
  get distance(): number {
    return this.#camera.distance;
  }

  /** The camera looks at the start of an episode. */
  restart(): void {
    const middle = middleOf(this.#world.scene, this.#world.now);
    this.#target = this.#travels ? [middle[0], middle[1], this.#home[2]] : this.#home;
  }

  /** @param share how far the world is from the state before the last step to the one after, from 0 to 1 */
  draw(share: number): void {
    const { scene, before, now } = this.#world;
    const both = new Float32Array(2 * before.length);
    both.set(before);
    both.set(now, before.length);
    const row = posesAt(both, scene.bodies, Math.max(0, Math.min(1, share)));
    this.#follow(middleOf(scene, row));
    if (this.#canvas !== undefined) this.#canvas.draw(row, this.#target);
    else if (this.#drawing !== undefined)
      this.#drawing.innerHTML = posePicture(scene, row, this.#camera, this.#target);
  }

  #follow(middle: Vector): void {
    const { distance } = this.#camera;
    const [x, y, z] = this.#target;
    const away = [middle[0] - x, middle[1] - y] as const;
    const across = followed(Math.hypot(...away), this.#travels ? 0 : deadZone.across * distance);
    const up = followed(Math.abs(middle[2] - z), deadZone.up * distance);
    this.#target = [x + across * away[0], y + across * away[1], z + up * (middle[2] - z)];
  }

  pick(event: PointerEvent): PickedPoint | undefined {
    return this.#canvas?.pick(event.clientX, event.clientY);
  }

  /** Where the pointer is in the world, as far away as `depth`. */
  pointAt(event: PointerEvent, depth: Vector): Vector {
    return this.#canvas?.pointAt(event.clientX, event.clientY, depth) ?? depth;
  }

  showPull(pull: { readonly from: Vector; readonly to: Vector } | undefined): void {
    this.#canvas?.showPull(pull);
    this.#element.toggleAttribute('data-pulled', pull !== undefined);
  }

  /** The colors or the size may have changed. */
  refresh(): void {
    this.#canvas?.refresh();
  }
}
