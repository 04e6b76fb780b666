import { playAll } from './player.js';
import { sceneView } from './scene-view.js';

playAll(sceneView);
