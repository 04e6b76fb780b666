import { followRun } from './live.js';
import { sceneView } from './scene-view.js';

followRun(sceneView);
