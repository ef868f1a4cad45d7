"""The words that generated passphrases are made of: 512, told apart by their first four letters.

Nine of them, drawn at random, are 81 bits: more than any passphrase that people choose, and easier
to write down without a mistake. The list is part of the product's promises about strength, not of
any format: a passphrase is text, whatever made it.
"""

from typing import Final

_TEXT: Final = """
acorn actor adobe agate agent alarm album alder algae alley aloe alpha amber anchor angel angle
ankle antler apple apron arch arena arrow artist aspen atlas attic august aunt autumn avenue
award axis bacon badge bagel baker ballad bamboo banana banjo barley barn basil basket baton
bazaar beach bead beaver bell bench berry birch blue boat bonnet book border bottle bowl branch
brass bread breeze brick bridge bronze broom brush bubble bucket bugle butter cabin cable cactus
camel canal candle canoe canvas canyon carbon cargo carpet carrot castle cedar celery cello
cement chalk chapel charm cheese cherry chess cider cinema circle citrus clay cliff clock cloud
clover coach coast cobalt cocoa coffee comet copper coral cork corner cotton cousin cradle crane
crater crayon crocus daisy dancer dawn deck deer delta denim desert dinner domino donkey door
dragon drawer dream drum duck dune dust eagle early earth easel east echo elbow elder ember
engine envoy fable fabric falcon family farmer fence fern ferry fiddle field finch finger fjord
flag flame flax fleece flint flock flora flute foam forest fossil frame friend frost fruit fudge
funnel galaxy garden garlic garnet gate gentle geyser giant ginger glass globe glove goblet gold
goose gopher grain grape grass gravel green grove guitar gull habit hammer harbor harp hazel
heart hedge helmet herb heron hill hinge hockey holly honey hood horn hotel house hunter husk
hymn igloo indigo inlet iris iron island ivory jacket jade jaguar jelly jewel jigsaw judge juice
jungle kayak kernel kettle kidney king kite kitten kiwi knight knot koala lace ladder ladle
lagoon lake lamp larch lark lasso laurel lava lawn leaf legend lemon lentil letter lever lilac
lily linen lion lizard llama locket lodge lotus lumber lunar lute lynx magnet mango mantle maple
marble market marsh mason meadow melody mentor merlin metal meteor middle mile mill mimosa mint
mirror mitten moat mole moon mosaic moss motor mouse muffin museum music myrtle napkin narrow
nation nature nectar needle nest nickel night noble noodle north novel nugget number nutmeg
oasis ocean octave olive onion opal opera orange orbit organ osprey otter oval oven oxygen
oyster paddle page paint palace palm panda panel paper parade parrot pasta patio peach peanut
pear pebble pencil pepper perch petal phone piano picnic pigeon pillow pilot pine pink pirate
planet plate plaza plum pocket poem polar pond pony poplar poppy portal potato powder prism
puddle puffin pulley puppet purple puzzle quail quarry queen quill quiver rabbit radar radish
raft rain ranch raven reef ribbon rice ridge ring river road robin rocket roof rose rowan ruby
rudder runner saddle sage sail salad salmon salt school season sesame shadow shell shield ship
shore silk silver sister sketch slate sleigh slope snow solar sonata spark spice spider spiral
sponge spoon spring spruce stable star stork stream sugar summer sunset swan tango tartan teapot
temple tennis thread thumb thyme tiger timber toast tomato topaz torch trail travel trout tulip
tundra tunnel turnip turtle tweed valley velvet vessel vine violet voyage waffle wagon walnut
walrus weasel wheat willow window winter wolf wonder yellow yogurt zebra
"""

WORDS: Final = tuple(_TEXT.split())
